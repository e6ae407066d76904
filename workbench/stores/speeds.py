"""How fast networks were measured to be, of all runs of some folders, beside how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from uda4inst.errors import UserError
from uda4inst.run_folder.evaluations import read_evaluation
from uda4inst.run_folder.layout import RunDir, runs_in
from uda4inst.run_folder.speeds import SpeedRecord, read_speeds
from uda4inst.tasks import TASKS
from workbench.stores.file_cache import FileCache


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the measured network was judged to be.

    Args:
        measure: AP or mIoU.
        value: in [0, 1].
        how: protocol, network, step and images it was judged by, in words.
    """

    measure: str
    value: float
    how: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement.

    Args:
        record: what was measured.
        quality: of that network at that step; None where it was not evaluated.
    """

    record: SpeedRecord
    quality: Quality | None


@dataclass(frozen=True, slots=True)
class Speeds:
    """All measurements.

    Args:
        rows: the newest first.
        problems: one message a file that cannot be read whole.
    """

    rows: tuple[Measured, ...]
    problems: tuple[str, ...] = ()


class SpeedStore:
    """Reads the measurements of all runs, and what was measured of presets.

    Args:
        root: folder of the runs; need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = FileCache()

    def found(self, more: Sequence[Path] = ()) -> Speeds:
        """Return every measurement.

        Args:
            more: further folders of runs, such as a suite's.
        """
        folders = dict.fromkeys(path.absolute() for path in (self._root, *more))
        rows: list[Measured] = []
        problems: list[str] = []
        for run in (run for folder in folders for run in (RunDir(folder), *runs_in(folder))):
            try:
                known = self._files.read(run.speeds, read_speeds)
            except FileNotFoundError:
                continue
            rows += [Measured(record, self._quality(run, record)) for record in known.records]
            problems += [known.problem] if known.problem else []
        return Speeds(tuple(sorted(rows, key=_newest_first)), tuple(problems))

    def _quality(self, run: RunDir, record: SpeedRecord) -> Quality | None:
        """Return the headline of the measured network where it was evaluated at that step."""
        if record.step is None or record.of is None:
            return None
        try:
            judged = self._files.read(run.evaluation_of(record.step), read_evaluation)
        except (OSError, UserError):
            return None
        for protocol, measure in _headlines():
            value = judged.value(record.of, protocol, measure)
            if value is not None:
                return Quality(measure, value, judged.said(record.of, protocol))
        return None


def _headlines() -> Iterator[tuple[str, str]]:
    """Yield the headline's protocol and measure of every task."""
    for task in TASKS.values():
        yield task.protocols[0], task.measures[0]


def _newest_first(one: Measured) -> float:
    """Return what sorts by time, the newest first; what has none comes last."""
    try:
        return -datetime.fromisoformat(one.record.time).timestamp()
    except ValueError:
        return 0.0
