"""Finished runs of other suites with the same configuration need not be trained again.

The tables overlap: M1 is Table 2's "none" and Table 4's one model, the upper bound is the same in
all. Such a run is taken over as it is, with its commit and hardware.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from uda4inst.atomic import TEMPORARY_PREFIX, disk_errors, link_or_copy, whole_folder
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir, runs_in
from uda4inst.run_folder.status import is_finished
from uda4inst.suites.expand import Expansion
from uda4inst.suites.folder import SuiteFolder, add_record, read_records
from uda4inst.training.config import config_hash, load_config

# Metrics, speeds, logs; everything else is written as a whole under its name.
_CHANGED_IN_PLACE: Final = (".jsonl", ".txt")


def reusable(folder: SuiteFolder, expansion: Expansion) -> dict[str, Path]:
    """Return where finished runs are that a suite wants and has not, by the name it has for them.

    Args:
        folder: the suite's; looked at are those beside it.
        expansion: the runs it wants.
    """
    wanted = {run.name: run for run in expansion.runs if not folder.run(run.name).path.exists()}
    finished = _finished_beside(folder) if wanted else {}
    return {
        name: finished[run.config_hash].path
        for name, run in wanted.items()
        if run.config_hash in finished
    }


def take_over(folder: SuiteFolder, expansion: Expansion) -> dict[str, Path]:
    """Copy finished runs from the suites beside this one; return where each came from.

    Checkpoints, snapshots and predictions are linked where the file system can, so that they are
    not stored twice. What a run that goes on changes in place is copied, or left out.

    Args:
        folder: the suite's; runs that are there already stay.
        expansion: the runs it wants.

    Raises:
        UserError: the disk is full.
    """
    taken = reusable(folder, expansion)
    for name, source in taken.items():
        with disk_errors("suite", folder.path, then="start it again"):
            _copy(source, folder.run(name).path)
        records = read_records(SuiteFolder(source.parent.parent)).get(source.name, [{}])
        add_record(folder, {**records[-1], "run": name, "taken_from": str(source)})
    return taken


def _finished_beside(folder: SuiteFolder) -> dict[str, RunDir]:
    """Return the finished runs of the other suites under the same root, by configuration hash."""
    found: dict[str, RunDir] = {}
    others = [SuiteFolder(path) for path in sorted(folder.path.parent.glob("*"))]
    for run in (run for other in others if other != folder for run in runs_in(other.runs)):
        is_half = run.name.startswith(TEMPORARY_PREFIX)
        if is_half or not is_finished(run):
            continue
        try:
            found.setdefault(config_hash(load_config(run.config)), run)
        except UserError:
            continue  # of another version of the program
    return found


def _copy(source: Path, target: Path) -> None:
    """Make the folder appear whole, of links or copies, but for what belongs to a trainer."""
    target.parent.mkdir(parents=True, exist_ok=True)
    of_trainers = shutil.ignore_patterns("lock", "control")
    with whole_folder(target) as unfinished:
        shutil.copytree(
            source, unfinished, ignore=of_trainers, copy_function=_link, dirs_exist_ok=True
        )


def _link(source: str, target: str) -> None:
    """Give a file a second name; a copy to one that is appended to or cut."""
    is_changed = Path(source).suffix in _CHANGED_IN_PLACE
    (shutil.copy2 if is_changed else link_or_copy)(source, target)
