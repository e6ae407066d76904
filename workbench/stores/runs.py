"""The runs on disk with their true state.

The run folder is the only truth: nothing about a run is remembered here that could not be read
again. What is kept is a cache by modification time, so that looking often costs little.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from uda4inst.classes import ThingClasses
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import Basis
from uda4inst.reading import is_folder
from uda4inst.run_folder.checkpoints import complete_steps
from uda4inst.run_folder.evaluations import Evaluation, evaluated_steps, read_evaluation
from uda4inst.run_folder.layout import RUN_NAME, RunDir, check_run_name, read_config_values
from uda4inst.run_folder.status import Status, begun, load_status, status_changed
from uda4inst.run_folder.trainer import why_dead
from uda4inst.tasks import TASKS, task_of
from uda4inst.tasks.base import Task
from uda4inst.tasks.instances import INSTANCES
from workbench.jobs.queue import Queue, queue_path, read_queue
from workbench.jobs.queue_records import (
    config_path,
    forget,
    read_record,
    record_names,
)
from workbench.stores.beginnings import status_in_queue, status_of_record, tail_of, took_over
from workbench.stores.file_cache import FileCache
from workbench.stores.groups import check_name, groups_in, module_of, split_name

logger = logging.getLogger(__name__)
# What changed within so many seconds counts as at work.
_LATELY: Final = 60.0
# Of an error that nobody foresaw.
_ERROR_LETTERS: Final = 600
# How old the run table may be that a browser is shown unasked.
LATE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ModuleStatus:
    """The network of one category group and its own progress; waiting before its turn.

    Args:
        group: name of the module's folder.
        status: its true state and progress.
    """

    group: str
    status: Status


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the run table.

    Args:
        name: name of the run folder.
        status: true state and progress; of all networks together where there are several.
        method: method of the run's configuration, "" when it cannot be read.
        ap: headline measure in [0, 1] of student and teacher at `ap_step`, where evaluated.
        ap_step: step of the newest evaluation, or None.
        measure: which headline measure it is, AP or mIoU.
        protocol: that judged them.
        basis: the images of that evaluation.
        place: in the queue, from 0; None for what does not wait.
        groups: category groups with a network each; none for a run of one network.
    """

    name: str
    status: Status
    method: str = ""
    ap: Mapping[str, float | None] = field(default_factory=dict)
    ap_step: int | None = None
    measure: str = "AP"
    protocol: str = ""
    basis: Basis = field(default_factory=Basis)
    place: int | None = None
    groups: Sequence[str] = ()


class RunStore:
    """Reads the runs under one folder.

    Args:
        root: folder of the runs; need not exist yet.
        clock: unix seconds; replaced in tests.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock
        self._cache = FileCache()
        self._monotonic = time.monotonic
        self._late_lock = threading.Lock()
        self._late: Sequence[RunSummary] = ()
        self._late_since = -math.inf

    def names(self) -> list[str]:
        """Return the names of all runs: what waits for its turn, then what changed last first.

        What changed within the last minute is in the order in which it began, the newest first:
        the signatures of runs at work would make them change places while one looks at them. A
        folder whose name is not one of a run is none: `odd_folders` has it.
        """
        names = self._times()
        waiting = [one.name for one in self.queue().waiting]
        others = names.keys() - waiting
        lately = self._clock() - _LATELY

        def rank(name: str) -> tuple[float, float, str]:
            changed, first = names[name]
            return -min(changed, lately), -first, name

        return [*waiting, *sorted(others, key=rank)]

    def _times(self) -> dict[str, tuple[float, float]]:
        """Return when each run last changed and when it began (unix seconds), by name."""
        times = {
            path.name: (status_changed(RunDir(path)), begun(RunDir(path)))
            for path in self._folders()
            if RUN_NAME.fullmatch(path.name)
        }
        for name in record_names(self.root):
            record = read_record(self.root, name)
            if record is not None and RUN_NAME.fullmatch(name):
                changed, first = times.get(name, (0.0, record.started))
                # Its folder may be there before its configuration is.
                times[name] = max(changed, record.started), first or record.started
        return times

    def newest_first(self) -> list[str]:
        """Return the names of all runs in the order in which they began, the newest first.

        For lists that are open while runs are at work: nothing that a run does moves it.
        """
        times = self._times()
        return sorted(times, key=lambda name: (-times[name][1], name))

    def has(self, name: str) -> bool:
        """Return whether `names` has this one, without looking at the others."""
        if not RUN_NAME.fullmatch(name):
            return False
        there = is_folder(self.root / name) or read_record(self.root, name) is not None
        return there or self.queue().place(name) is not None

    def folder(self, name: str) -> Path:
        """Return the folder of a run.

        Raises:
            UserError: the name is not one of a run folder, or there is no such run.
        """
        check_run_name(name)
        path = self.root / name
        if not path.is_dir():
            known = ", ".join(self.names()[:8]) or "none yet"
            raise UserError(
                f"run must be one of the runs in {self.root} ({known}), got {name!r}. "
                "Choose another run or start one on the Train page."
            )
        return path

    def odd_folders(self) -> list[str]:
        """Return the names of folders that cannot be chosen, in the order of the alphabet."""
        return sorted(p.name for p in self._folders() if not RUN_NAME.fullmatch(p.name))

    def dir(self, name: str) -> RunDir:
        """Return where a run or a module lies, whether it is there or not.

        Raises:
            UserError: the name cannot be that of one; nothing outside the folder of runs is opened.
        """
        return RunDir(self.root / check_name(name))

    def groups(self, name: str) -> list[str]:
        """Return the category groups with a network each; none for a run of one network."""
        return groups_in(self.dir(name), self.config(name))

    def modules(self, name: str) -> list[ModuleStatus]:
        """Return the networks of a run of several category groups, in the order they train."""
        return [ModuleStatus(g, self.status(module_of(name, g))) for g in self.groups(name)]

    def can_resume(self, name: str) -> bool:
        """Return whether there is something to go on from.

        A run of several groups always has it: a group without a checkpoint begins anew.
        """
        return bool(self.groups(name) or self.checkpoints(name))

    def free_name(self, wanted: str, *, stem: str | None = None) -> str:
        """Return a name that a new run may have: the wanted one, else stem_2, stem_3, ...

        Args:
            wanted: the name.
            stem: of the numbered ones; None for the name itself.
        """
        name, number = wanted, 1
        while not self.is_free(name):
            number += 1
            name = f"{stem or wanted}_{number}"
        return name

    def is_free(self, name: str) -> bool:
        """Return whether a new run may have this name; a failed start leaves it free."""
        run = self.dir(check_run_name(name))
        written = run.config.exists() or run.status.exists()
        waits = self.queue().place(name) is not None
        return not written and not waits and not self._is_begun(name)

    def _is_begun(self, name: str) -> bool:
        return read_record(self.root, name) is not None and self.status(name).live

    def queue(self) -> Queue:
        """Return what waits for its turn; of a damaged file nothing, and the log says so."""
        try:
            return self._cache.read(queue_path(self.root), read_queue)
        except FileNotFoundError:
            return Queue()
        except UserError as error:
            logger.warning("%s", error)
            return Queue()

    def status(self, name: str) -> Status:
        """Return the true state of a run or a module: what it wrote, checked against its process.

        Raises:
            UserError: the name cannot be that of a run.
        """
        run, group = split_name(check_name(name))
        written = self._written_status(name)
        if group is not None:
            return self._module_status(name, written, above=self.status(run))
        record = read_record(self.root, name)
        if record is not None:
            if written is not None and took_over(record, written):
                forget(self.root, name)
            else:
                return status_of_record(record, written, self.dir(name).console)
        else:
            queue = self.queue()
            place = queue.place(name)
            if place is not None:
                return status_in_queue(queue, place, written, self.root)
        if written is None:
            return Status(
                state="incomplete",
                error=f"{self.dir(name).status.name} is missing in {self.root / name}: no trainer "
                "has written here. "
                "Delete the folder or start the run again under another name.",
            )
        return self._true_status(name, written)

    def summary(self, name: str) -> RunSummary:
        """Return the table line of a run; of one that cannot be read, a line that says why."""
        try:
            return self._read_summary(name)
        except Exception as error:  # whatever lies in a folder, the other lines are shown
            logger.debug("run %r cannot be read", name, exc_info=True)
            return _unreadable(name, error)

    def _read_summary(self, name: str) -> RunSummary:
        task = self.task(name)
        newest = self._newest_evaluation(self.dir(name))
        protocol, measure = task.protocols[0], task.measures[0]
        ap = {n: newest.value(n, protocol, measure) for n in newest.networks} if newest else {}
        return RunSummary(
            name=name,
            status=self.status(name),
            method=str(self.setting(name, "method.name") or ""),
            ap=ap,
            ap_step=newest.step if newest else None,
            measure=measure,
            protocol=protocol,
            basis=newest.basis if newest else Basis(),
            place=self.queue().place(name),
            groups=self.groups(name),
        )

    def summaries(self) -> list[RunSummary]:
        """Return the table lines of all runs, in the order of `names`, odd folders last."""
        return [self.summary(name) for name in (*self.names(), *self.odd_folders())]

    def summaries_of_late(self) -> Sequence[RunSummary]:
        """Return the table lines as they were at most `LATE_SECONDS` ago.

        Every browser that is open asks for them every two seconds: one reads, and the others have
        what it read.
        """
        with self._late_lock:
            if not 0 <= self._monotonic() - self._late_since < LATE_SECONDS:
                self._late = self.summaries()
                self._late_since = self._monotonic()
            return self._late

    def config(self, name: str) -> Mapping[str, object]:
        """Return the configuration a run wrote, or will be started with; empty without one."""
        wanted = config_path(self.root, name)  # of a run that waits or has just been started
        for path in (self.dir(name).config, wanted):
            try:
                return self._cache.read(path, read_config_values)
            except FileNotFoundError:
                continue
        return {}

    def setting(self, name: str, key: str) -> object:
        """Return one value of a run's configuration by dotted key, or None."""
        value: object = self.config(name)
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def task(self, name: str) -> Task:
        """Return what a run predicts; instances where its configuration does not say."""
        preset = self.setting(name, "model.preset")
        known = any(preset in task.presets for task in TASKS.values())
        return task_of(str(preset), self.things(name)) if known else INSTANCES

    def things(self, name: str) -> ThingClasses:
        """Return the things of a run; the eight where its configuration does not say."""
        return ThingClasses.said(self.setting(name, "method.own_classes"))

    def number(self, name: str, key: str) -> float | None:
        """Return a setting that is a number, or None."""
        value = self.setting(name, key)
        return value if isinstance(value, int | float) else None

    def count(self, name: str, key: str) -> int | None:
        """Return a setting that is a whole number, or None."""
        value = self.setting(name, key)
        return value if isinstance(value, int) else None

    def classes(self, name: str) -> tuple[str, ...]:
        """Return the classes a network of its own learns; none where it learns all."""
        value = self.setting(name, "method.classes")
        names = value if isinstance(value, list | tuple) else ()
        return tuple(each for each in self.things(name).names if each in names)

    def checkpoints(self, name: str) -> list[int]:
        """Return the steps of the complete checkpoints of a run, oldest first."""
        return complete_steps(self.dir(name).checkpoints)

    def tail(self, name: str, *, lines: int = 60) -> str:
        """Return the last lines of the run's log, or of its console before it has one."""
        run = self.dir(name)
        record = read_record(self.root, name)
        # Before a trainer has taken over, the log is an earlier one's.
        logs = (run.console,) if record else (run.log, run.console)
        texts = (tail_of(path, lines=lines) for path in logs if path.is_file())
        return next((text for text in texts if text), "")

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return [p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith(".")]

    def _written_status(self, name: str) -> Status | None:
        try:
            return self._cache.read(self.dir(name).status, load_status)
        except FileNotFoundError:
            return None
        except UserError as error:
            return Status(state="incomplete", error=str(error))

    def _true_status(self, name: str, status: Status) -> Status:
        if not status.live:
            return status
        reason = why_dead(self.dir(name), status, now=self._clock())
        if reason is None:
            return status
        remedy = (
            "Restart it from its last checkpoint."
            if self.can_resume(name)
            else "It had no checkpoint yet: start it again under another name."
        )
        return replace(
            status,
            state="dead",
            steps_per_second=None,
            eta_seconds=None,
            error=status.error or f"The trainer ended without a word: {reason}. {remedy}",
        )

    def _module_status(self, name: str, written: Status | None, *, above: Status) -> Status:
        """Return the state of a module; in a live run, what an earlier trainer left waits."""
        if written is None:
            count = len(self.groups(split_name(name)[0])) or 1
            return Status(state="waiting", steps=above.steps // count)
        status = self._true_status(name, written)
        earlier = status.heartbeat < _start_time(above)
        if above.live and earlier and status.state in ("stopped", "dead", "failed"):
            return replace(status, state="waiting", error=None)
        return status

    def _newest_evaluation(self, run: RunDir) -> Evaluation | None:
        steps = evaluated_steps(run)
        if not steps:
            return None
        try:
            found = self._cache.read(run.evaluation_of(steps[-1]), read_evaluation)
        except (OSError, UserError) as error:
            logger.warning("evaluation of %s cannot be read: %s", run.path, error)
            return None
        # The name of a file is the truth about its step, as for whoever looks for it.
        return replace(found, step=steps[-1])


def _unreadable(name: str, error: Exception) -> RunSummary:
    """Return the line of a run that cannot be read; its error names the file, or what it is."""
    why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return RunSummary(name=name, status=Status(state="incomplete", error=why[:_ERROR_LETTERS]))


def _start_time(status: Status) -> float:
    """Return when a run's trainer began (unix seconds), 0 where it does not say."""
    try:
        return datetime.fromisoformat(status.started).timestamp()
    except (ValueError, OverflowError):
        return 0.0
