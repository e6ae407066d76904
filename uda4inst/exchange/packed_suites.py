"""Archives of suites: everything a report is made of, without the networks.

Intervals, tables and charts come out of one as they came out of the trainings, and `uda4inst suite`
goes on with what was not finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from uda4inst.errors import UserError
from uda4inst.evaluation.resampling import RESAMPLED_FILES
from uda4inst.exchange.archives import Entry, Kind, extract, write_archive
from uda4inst.exchange.hub_folder import refuse_existing
from uda4inst.reading import MAX_DATA, read_bytes
from uda4inst.run_folder.evaluations import evaluated_steps
from uda4inst.run_folder.layout import RunDir, read_command, runs_in
from uda4inst.run_folder.status import is_finished
from uda4inst.suites.folder import SuiteFolder, open_suite

KIND: Final = Kind(
    format="uda4inst-packed-suite-1",
    called="suite",
    needs=("folder", "runs"),
    file=SuiteFolder(Path()).description.name,
)
SUFFIX: Final = ".suite.zip"


@dataclass(frozen=True, slots=True)
class UnpackedSuite:
    """A suite that came out of an archive.

    Args:
        folder: where it lies now.
        runs: how many finished runs it has.
        files: how many were compared with their hashes.
    """

    folder: SuiteFolder
    runs: int
    files: int


def pack_suite(path: Path, out: Path) -> int:
    """Write the scores of a suite's finished runs as one archive.

    Of each run: configuration, how it was started, versions and commits, how it ended, its scores,
    and those by resample, which intervals come from. Weights, pictures and single predictions stay
    behind, and so do runs that are not finished, and stage 1 shared by several, which is in no
    table.

    Args:
        path: the suite's folder.
        out: file to write.

    Returns:
        How many runs it holds.

    Raises:
        UserError: it is no suite, has no finished run, or the archive exists or cannot be written.
    """
    refuse_existing(out)
    folder, description = open_suite(path)
    described = {run["name"]: run for run in description.get("runs") or ()}
    stage1 = {run.get("stage1") for run in described.values()}
    runs = [run for run in runs_in(folder.runs) if run.name not in stage1]
    finished = [run for run in runs if is_finished(run)]
    if not finished:
        raise UserError(
            f"SUITE_FOLDER must hold a finished run, got none ({path}). Call `uda4inst suite "
            f"{description['suite']} --scale {description['scale']}`, then pack again."
        )
    entries = [Entry(folder.description.name, source=folder.description)]
    if folder.records.is_file():
        records = read_bytes(folder.records, limit=MAX_DATA)
        entries.append(Entry(folder.records.name, data=records))
    for run in finished:
        entries += _scores(run, folder)
    commits = {commit for run in finished for commit in read_command(run).commits}
    about = {
        "format": KIND.format,
        "folder": path.resolve().name,
        "suite": description["suite"],
        "scale": description["scale"],
        "runs": [run.name for run in finished],
        "commits": sorted(commits),
    }
    write_archive(out, about, entries)
    return len(finished)


def _scores(run: RunDir, folder: SuiteFolder) -> Iterator[Entry]:
    """Yield the files of a run that reports are made of."""
    steps = evaluated_steps(run)
    resampled = [
        path for step in steps for path in sorted(run.predictions_of(step).glob(RESAMPLED_FILES))
    ]
    results = [run.evaluation_of(step) for step in steps]
    for path in (run.config, run.command, run.parent, run.status, *results, *resampled):
        if path.is_file():
            yield Entry(path.relative_to(folder.path).as_posix(), source=path)


def unpack_suite(path: Path, *, root: Path, name: str | None = None) -> UnpackedSuite:
    """Make a suite's folder of an archive, every file of it compared with its hash.

    Args:
        path: the archive, from anywhere.
        root: folder that holds the suites.
        name: of the folder; None for the one it had.

    Raises:
        UserError: as `archives.extract`, or what is in it is no suite; nothing is left behind then.
    """
    out, contents, files = extract(path, KIND, root=root, name=name, check=_check)
    return UnpackedSuite(SuiteFolder(out), len(contents["runs"]), files)


def _check(folder: Path, contents: Mapping[str, Any]) -> None:
    open_suite(folder)
    if not isinstance(contents["runs"], list):
        raise UserError(
            f"ARCHIVE must list its runs, got {contents['runs']!r} ({folder}). Ask for another."
        )
