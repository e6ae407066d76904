"""Runs a suite: what is finished is skipped, what was cut short goes on, the rest begins.

A run is `uda4inst train` or `resume` in a process of its own, so that one that fails, or is killed,
takes nothing with it. The run folders are the only memory: a killed suite started again finds in
them what there is to do.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

from uda4inst.atomic import remove_folder
from uda4inst.reading import open_regular
from uda4inst.run_folder.commit import current_commit
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.start import (
    STOP_SIGNALS,
    STOPPED_CODES,
    TRAINER,
    resume_arguments,
    train_arguments,
)
from uda4inst.run_folder.status import is_finished, read_status
from uda4inst.run_folder.trainer import living_trainer
from uda4inst.suites.engines import Ending, Engine, Handle, Job
from uda4inst.suites.expand import Expansion, RunSpec
from uda4inst.suites.folder import SuiteFolder, add_record, write_config
from uda4inst.suites.machine import hardware

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.3

End = Literal["finished", "skipped", "failed", "blocked", "stopped", "waiting"]


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far one run is, as its status file says."""

    name: str
    step: int = 0
    steps: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class SuiteProgress:
    """How far a suite is.

    Args:
        runs: how many there are to do.
        done: ended, well or not, or not needed.
        failed: of these, not well.
        running: those at work.
        news: a line about something that just happened, or empty.
    """

    runs: int
    done: int
    failed: int
    running: tuple[RunProgress, ...]
    news: str = ""


@dataclass(frozen=True, slots=True)
class SuiteOutcome:
    """How a suite ended.

    Args:
        ends: how each run ended, by name.
        errors: what went wrong, by name.
        signal: the signal that stopped it, or 0.
    """

    ends: dict[str, End]
    errors: dict[str, str]
    signal: int = 0

    @property
    def is_good(self) -> bool:
        """Whether every run is finished."""
        return all(end in ("finished", "skipped") for end in self.ends.values())


Watch = Callable[[SuiteProgress], None]


def run_suite(
    folder: SuiteFolder,
    expansion: Expansion,
    engine: Engine,
    *,
    watch: Watch | None = None,
    trainer: Sequence[str] = TRAINER,
) -> SuiteOutcome:
    """Do what is left of a suite.

    SIGTERM and Ctrl-C ask the runs to save and end, and are waited for; a second one ends them at
    once.

    Args:
        folder: where it lies; held by the caller.
        expansion: its runs.
        engine: where they compute.
        watch: told about progress.
        trainer: the command line whose `train` and `resume` are called.
    """
    schedule = _Schedule(folder, expansion, engine, watch or _ignore, tuple(trainer))
    with _listening() as signals:
        try:
            schedule.work(signals)
        finally:
            engine.close()
    return SuiteOutcome(schedule.ends, schedule.errors, signals[0] if signals else 0)


def _ignore(progress: SuiteProgress) -> None:
    del progress


@dataclass
class _Schedule:
    """Which runs are where; `work` moves them along until none is left."""

    folder: SuiteFolder
    expansion: Expansion
    engine: Engine
    watch: Watch
    trainer: tuple[str, ...]
    ends: dict[str, End] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    _active: dict[str, tuple[Handle, dict[str, Any]]] = field(default_factory=dict)
    _commit: str | None = field(default_factory=current_commit)

    @property
    def runs(self) -> Sequence[RunSpec]:
        """The expansion's."""
        return self.expansion.runs

    def work(self, signals: list[int]) -> None:
        """Start, watch and end runs; `signals` fills when the suite is asked to stop."""
        self._skip_what_is_done()
        self._tell()
        while True:
            self._end_what_ended()
            if signals:
                self._stop(at_once=len(signals) > 1)
            else:
                self._block_what_cannot_start()
                self._start_what_can()
            if not self._active:
                break
            self._tell()
            time.sleep(POLL_SECONDS)
        self._tell()

    def _skip_what_is_done(self) -> None:
        """Sort out finished runs, and stage-1 runs whose dependants are all finished."""
        self.ends = {run.name: "waiting" for run in self.runs}
        for run in self.runs:
            if is_finished(self.folder.run(run.name)):
                self.ends[run.name] = "skipped"
        for run in self.runs:
            dependants = [other for other in self.runs if other.stage1 == run.name]
            if dependants and all(self.ends[other.name] == "skipped" for other in dependants):
                self.ends[run.name] = "skipped"

    def _block_what_cannot_start(self) -> None:
        for run in self.runs:
            lost = self.ends.get(run.stage1) in ("failed", "stopped")
            if self.ends[run.name] == "waiting" and lost:
                self.ends[run.name] = "blocked"
                self.errors[run.name] = f"its stage 1, {run.stage1}, is not finished"

    def _start_what_can(self) -> None:
        for run in self.runs:
            if len(self._active) >= self.engine.slots:
                return
            ready = not run.stage1 or self.ends[run.stage1] in ("finished", "skipped")
            if self.ends[run.name] == "waiting" and run.name not in self._active and ready:
                self._start(run)

    def _start(self, run: RunSpec) -> None:
        """Begin a run, go on with it, or wait for a trainer that survived an earlier suite."""
        place = self.folder.run(run.name)
        record = {
            "run": run.name,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "commit": self._commit,
            "command": list(self.expansion.command),
            "since": time.monotonic(),
            "log": _size(self.folder.logs / f"{run.name}.txt"),
        }
        survivor = living_trainer(place)
        if survivor is not None:
            self._active[run.name] = (_Survivor(place), record)
            self._tell(f"{run.name}: still trained by process {survivor.pid}, waiting for it")
            return
        if place.config.is_file():
            arguments = resume_arguments(place)
        else:
            # What a trainer killed before it wrote its configuration has left holds nothing.
            remove_folder(place.path)
            arguments = train_arguments(write_config(self.folder, run))
        job = Job(
            name=run.name,
            command=(*self.trainer, *arguments),
            log=(self.folder.logs / f"{run.name}.txt").resolve(),
            folder=Path.cwd(),
            environment={},
        )
        self._active[run.name] = (self.engine.start(job), record)
        self._tell(f"{run.name}: {arguments[0]}")

    def _end_what_ended(self) -> None:
        for name, (handle, record) in list(self._active.items()):
            ending = handle.poll()
            if ending is None:
                continue
            del self._active[name]
            end, error = self._judge(name, ending, record.pop("log"))
            self.ends[name] = end
            if error:
                self.errors[name] = error
            seconds = round(time.monotonic() - record.pop("since"), 1)
            record |= {"seconds": seconds, "end": end, "hardware": ending.hardware}
            add_record(self.folder, record)
            self._tell(f"{name}: {end} after {seconds:.0f} s" + (f": {error}" if error else ""))

    def _judge(self, name: str, ending: Ending, since: int) -> tuple[End, str]:
        """Return how a run ended, and what went wrong."""
        status = read_status(self.folder.run(name))
        state, step = (status.state, status.step) if status else (None, 0)
        if ending.code == 0 and state == "finished":
            return "finished", ""
        if ending.code in STOPPED_CODES or (ending.code == 0 and state == "stopped"):
            return "stopped", f"stopped at step {step}; it goes on next time"
        if ending.code == 0:
            return "failed", f"ended without having finished, its state is {state or 'unknown'}"
        return "failed", _last_words(self.folder.logs / f"{name}.txt", since) or _how(ending)

    def _stop(self, *, at_once: bool) -> None:
        for name, (handle, _) in list(self._active.items()):
            if isinstance(handle, _Survivor):
                del self._active[name]
            elif at_once:
                handle.kill()
            else:
                handle.stop()

    def _tell(self, news: str = "") -> None:
        """Tell whoever watches."""
        if news:
            log.info("%s", news)
        running = tuple(self._progress(name) for name in self._active)
        ended = [end for end in self.ends.values() if end != "waiting"]
        failed = sum(end in ("failed", "blocked") for end in ended)
        self.watch(SuiteProgress(len(self.runs), len(ended), failed, running, news))

    def _progress(self, name: str) -> RunProgress:
        status = read_status(self.folder.run(name))
        if status is None:
            return RunProgress(name)
        return RunProgress(name, status.step, status.steps or None, status.message)


class _Survivor:
    """A trainer that an earlier suite started and that outlived it; only waited for."""

    def __init__(self, run: RunDir) -> None:
        self._run = run

    def poll(self) -> Ending | None:
        return Ending(0, hardware()) if living_trainer(self._run) is None else None

    def stop(self) -> None:
        """Leave it alone."""

    def kill(self) -> None:
        """Leave it alone."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _last_words(path: Path, since: int) -> str:
    """Return what a trainer said last: its error message, or the end of a traceback."""
    try:
        with open_regular(path) as file:
            file.seek(since)
            said = file.read().decode("utf-8", errors="replace").strip()
    except OSError:
        return ""
    *_, message = re.split(r"^error: ", said, flags=re.MULTILINE)
    return message if message != said else said.rpartition("\n")[2]


def _how(ending: Ending) -> str:
    """Say how a trainer ended that said nothing."""
    if ending.code < 0:
        return f"ended by signal {-ending.code} on {ending.hardware}"
    return f"ended with exit code {ending.code} on {ending.hardware}"


@contextmanager
def _listening() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C; outside the main thread there is nothing to collect."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        signals.append(number)

    earlier = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
