"""Suite folders on disk: where they lie, how their runs stand, and what they have reached.

Suites are read and never written. What was collected is kept until a file it rests on changes;
the steps that running trainers sign every few seconds are not among these.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from uda4inst.errors import UserError
from uda4inst.run_folder.evaluations import evaluated_steps
from uda4inst.run_folder.status import SeenState
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.expand import run_name
from uda4inst.suites.folder import SuiteFolder, described_cells, open_suite, read_records
from uda4inst.suites.results import SuiteResults, collect
from uda4inst.suites.rows import View
from uda4inst.suites.scales import find_scale
from workbench.stores.file_cache import FileCache
from workbench.stores.places import Places
from workbench.stores.recent import Recent
from workbench.stores.runs import RunStore
from workbench.stores.suite_exports import Export, chart_export

# How deep below the root suites are looked for; a suite's own folder is not entered.
_DEPTH: Final = 3
_SUITES_KEPT: Final = 8
_CHARTS_KEPT: Final = 12
_LOST: Final = ("failed", "dead", "blocked")


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """One run of a suite, whether it is there or not.

    Args:
        name: of its folder.
        state: as its folder shows it; "missing" before it begins, "blocked" where its stage 1
            has failed.
        step: steps done.
        steps: steps to do; 0 before it begins.
        note: what went wrong, or what it is doing.
    """

    name: str
    state: SeenState | Literal["missing", "blocked"]
    step: int = 0
    steps: int = 0
    note: str = ""


class SuiteStore:
    """Reads the suites under one folder.

    Args:
        root: folder of the suites; need not exist yet.
        places: where other suites may lie; None for nowhere else.
    """

    def __init__(self, root: Path, places: Places | None = None) -> None:
        self.root = root
        self._places = places or Places([root])
        self._files = FileCache()
        self._results: Recent[Hashable, SuiteResults] = Recent(_SUITES_KEPT)
        self._charts: Recent[Hashable, Future[Export | None]] = Recent(_CHARTS_KEPT)
        self._artist = ThreadPoolExecutor(1, thread_name_prefix="charts")
        self._runs: Recent[Path, RunStore] = Recent(_SUITES_KEPT)

    def folders(self) -> list[Path]:
        """Return the suites' folders, the one that changed last first."""
        changed = {path: _last_change(SuiteFolder(path)) for path in _suites(self.root, _DEPTH)}
        return sorted(changed, key=lambda path: (-changed[path], path))

    def stamp(self, folder: Path) -> Hashable:
        """Return what changes when, and only when, a suite's results may have changed.

        Raises:
            UserError: it is not a suite's folder.
        """
        suite = SuiteFolder(folder)
        description = self._description(folder)
        marks = [_mark(suite.description), _mark(suite.records)]
        names = _result_runs(description)
        return folder, *marks, *((name, *self._run_marks(suite, name)) for name in names)

    def results(self, folder: Path) -> SuiteResults:
        """Return what a suite's runs have reached, from memory when nothing has changed.

        Raises:
            UserError: it is not a suite's folder, or a result in it is damaged.
        """
        return self._results_at(self.stamp(folder), folder)

    def _results_at(self, stamp: Hashable, folder: Path) -> SuiteResults:
        return self._results.get(stamp, lambda: collect(folder))

    def chart(self, folder: Path, view: View) -> Future[Export | None]:
        """Return the report's chart of a view as a file to come, None where there is none.

        Drawing takes a second, and is done once.

        Raises:
            UserError: as `results`.
        """
        stamp = self.stamp(folder)
        results = self._results_at(stamp, folder)
        return self._charts.get(
            (stamp, view), lambda: self._artist.submit(chart_export, results, view)
        )

    def runs_of(self, folder: Path) -> Path:
        """Return the folder that a suite's runs lie in.

        Raises:
            UserError: it lies in none of the app's folders.
        """
        return SuiteFolder(self._places.check(folder, what="SUITE_FOLDER")).runs

    def runs(self, folder: Path) -> list[SuiteRun]:
        """Return every run of a suite in the order they are trained, stage 1 among them.

        Raises:
            UserError: it is not a suite's folder.
        """
        suite = SuiteFolder(folder)
        description = self._description(folder)
        written = description.get("runs") or ()
        stage1 = {str(run["name"]): str(run.get("stage1") or "") for run in written}
        names = list(stage1) or _result_runs(description)
        ends = _last_ends(suite)
        found = {name: self._run(suite, name, ends.get(name, "")) for name in names}
        for name, run in found.items():
            start = found.get(stage1.get(name, ""))
            if run.state == "missing" and start is not None and start.state in _LOST:
                note = f"its stage 1, {start.name}, is not finished"
                found[name] = SuiteRun(name, "blocked", note=note)
        return [run for run in found.values() if not _is_needless(run, found, stage1)]

    def _description(self, folder: Path) -> Mapping[str, Any]:
        """Return the content of suite.yaml."""
        self._places.check(folder, what="SUITE_FOLDER")
        try:
            return self._files.read(
                SuiteFolder(folder).description, lambda path: open_suite(path.parent)[1]
            )
        except OSError:
            return open_suite(folder)[1]  # says what is wrong

    def _run_marks(self, suite: SuiteFolder, name: str) -> tuple[Hashable, ...]:
        """Return the state, command and evaluation of a run, on which its result rests."""
        run = suite.run(name)
        if not run.config.is_file():
            return ()
        state = self._store(suite).status(name).state
        marks: list[Hashable] = [state, _mark(run.command)]
        if state == "finished":
            steps = evaluated_steps(run)
            marks += [steps[-1], _mark(run.evaluation_of(steps[-1]))] if steps else []
        return tuple(marks)

    def _run(self, suite: SuiteFolder, name: str, last_end: str) -> SuiteRun:
        if not suite.run(name).config.is_file():
            return SuiteRun(name, "failed" if last_end == "failed" else "missing")
        status = self._store(suite).status(name)
        note = status.error or (status.message if status.live else "")
        return SuiteRun(name, status.state, status.step, status.steps, note or "")

    def _store(self, suite: SuiteFolder) -> RunStore:
        return self._runs.get(suite.path, lambda: RunStore(suite.runs))


def _suites(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the suites below a folder."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return
    for entry in sorted(entries, key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if SuiteFolder(path).description.is_file():
            yield path
        elif depth > 1:
            yield from _suites(path, depth - 1)


def _result_runs(description: Mapping[str, Any]) -> list[str]:
    """Return the names of the runs that stand in the suite's table."""
    presets = find_scale(str(description["scale"])).presets
    rows = [row for row in SUITES[description["suite"]].rows if row.benchmark in presets]
    cells = described_cells(description)
    return list(dict.fromkeys(run_name(row.run_key, cell) for row in rows for cell in cells))


def _last_ends(suite: SuiteFolder) -> dict[str, str]:
    """Return how the last work on each run ended."""
    records = read_records(suite)
    return {name: str(lines[-1].get("end", "")) for name, lines in records.items()}


def _is_needless(run: SuiteRun, runs: Mapping[str, SuiteRun], stage1: Mapping[str, str]) -> bool:
    """Whether a run is not there because everything that would start from it is finished."""
    dependants = [name for name, start in stage1.items() if start == run.name]
    done = bool(dependants) and all(runs[name].state == "finished" for name in dependants)
    return done and run.state == "missing"


def _mark(path: Path) -> tuple[int, int] | None:
    """Return time and length of a file; None when it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _last_change(suite: SuiteFolder) -> int:
    marks = [_mark(path) for path in (suite.description, suite.records)]
    return max((mark[0] for mark in marks if mark is not None), default=0)


def checked_folder(text: str) -> Path:
    """Return the folder a person named.

    Raises:
        UserError: nothing is named, or the home folder of nobody.
    """
    if not text.strip():
        raise UserError("SUITE_FOLDER must be named, got nothing. Choose one, or type its path.")
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError as error:
        raise UserError(f"SUITE_FOLDER must be a path, got {text!r} ({error})") from error
