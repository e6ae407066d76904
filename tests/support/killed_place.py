"""A folder in which one command line is started again and again, its processes and files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import psutil
from compared_runs import repeated_content

from uda4inst.atomic import TEMPORARY_PREFIX
from uda4inst.errors import UserError
from uda4inst.run_folder.checkpoints import complete_steps, open_checkpoint
from uda4inst.run_folder.evaluations import evaluated_steps, read_evaluation
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.status import load_status

# In the environment of every process of a place: how they are found again.
MARK: Final = "UDA4INST_SOAK_TRIAL"

Way = Literal["tree", "first"]


class Place:
    """A folder in which one training is started again and again."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "data").symlink_to(data)
        self._mark = str(folder)
        self._known: frozenset[Path] = frozenset()

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        self._known = frozenset(self.unfinished())
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "uda4inst.cli", *arguments],
                cwd=self.folder,
                env={**os.environ, MARK: self._mark, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """Return what runs here, whoever its parent is now."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self._mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def kill(self, first: subprocess.Popen[bytes], way: Way) -> None:
        """Send SIGKILL to the first process, or to all of them until there is none."""
        first.kill()
        first.wait()
        while way == "tree" and (others := self.processes()):
            for other in others:
                other.kill()

    def wait_until_gone(self, seconds: float) -> tuple[float, list[psutil.Process]]:
        """Return how long it took, and what is left."""
        started = time.monotonic()
        while (left := self.processes()) and time.monotonic() - started < seconds:
            time.sleep(0.1)
        return time.monotonic() - started, left

    def runs(self) -> list[RunDir]:
        """Return every run folder, with those of modules and of a suite."""
        return [RunDir(path.parent) for path in sorted(_named("config.yaml", self.folder))]

    def unfinished(self) -> list[Path]:
        """Return temporary files and folders, outermost first."""
        found = sorted(_below(self.folder, lambda name: name.startswith(TEMPORARY_PREFIX)))
        return [path for path in found if path.parent not in found]

    def in_writing(self) -> list[str]:
        """Return what is being written since the last start: names of folders on the way to it."""
        new = [path for path in self.unfinished() if path not in self._known]
        return [part for path in new for part in path.relative_to(self.folder).parts]

    def lines(self) -> int:
        """Return how many lines of metrics there are."""
        return sum(_count_lines(path) for path in _named("metrics.jsonl", self.folder))

    def records(self) -> int:
        """Return how many runs of a suite have ended."""
        return sum(_count_lines(path) for path in _named("records.jsonl", self.folder))

    def content(self) -> dict[str, object]:
        """Return what is left of all runs, as `repeated_content`, wherever this folder lies."""
        found: dict[str, object] = {}
        for name, value in repeated_content(self.folder).items():
            if Path(name).parts[0] in ("runs", "suites") and not _of_a_suite(name):
                here = str(self.folder.resolve())
                found[name] = value.replace(here, ".") if isinstance(value, str) else value
        return found


def _below(folder: Path, is_meant: Callable[[str], bool]) -> Iterator[Path]:
    """Yield files and folders by their names; what goes while it is looked for is no error."""
    for where, folders, files in os.walk(folder):
        yield from (Path(where, name) for name in (*folders, *files) if is_meant(name))


def _named(wanted: str, folder: Path) -> Iterator[Path]:
    return _below(folder, lambda name: name == wanted)


def _of_a_suite(name: str) -> bool:
    """Tell whether a file says when a suite did what."""
    parts = Path(name).parts
    return parts[0] == "suites" and (
        parts[2] in ("logs", "records.jsonl", "suite.yaml") or parts[-1] == "lock"
    )


def _count_lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def whole_files(run: RunDir) -> Iterator[str]:
    """Yield what is wrong with the files of a run that was just killed."""
    readers: list[tuple[Path, Callable[[], object]]] = [
        (run.checkpoints / str(step), lambda s=step: open_checkpoint(run.checkpoints, step=s))
        for step in complete_steps(run.checkpoints)
    ]
    readers += [
        (path, lambda p=path: read_evaluation(p))
        for path in map(run.evaluation_of, evaluated_steps(run))
    ]
    readers += [(run.status, lambda: load_status(run.status))] if run.status.exists() else []
    for path, read in readers:
        try:
            read()
        except (UserError, OSError) as error:
            yield f"{path}: {error}"
    if run.metrics.exists():
        *lines, _ = run.metrics.read_bytes().split(b"\n")
        for line in lines:
            try:
                json.loads(line)
            except ValueError:
                yield f"{run.metrics}: {line[:80]!r}"


def seen_in(place: Place) -> str:
    """Return what a killed training was doing, as its folder shows it."""
    written = place.in_writing()
    if "checkpoints" in written:
        return "writing a checkpoint"
    if "evaluation" in written:
        return "evaluating"
    if "snapshots" in written:
        return "writing a snapshot"
    if not place.runs():
        return "before there was a run"
    stages: list[int] = []
    for run in place.runs():
        if run.metrics.exists():
            lines = run.metrics.read_bytes().split(b"\n")[:-1]
            stages += [json.loads(lines[-1])["stage"]] if lines else []
    return f"stage {stages[-1]}" if stages else "before the first step"
