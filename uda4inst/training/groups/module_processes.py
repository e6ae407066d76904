"""Category groups trained at the same time: a process each, on a GPU each where there are several.

The parent trains nothing. It starts the modules, passes requests on to them, and adds up what their
`status.json` files say. A child is an ordinary `uda4inst resume` and can be watched as such.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import torch

from uda4inst.errors import UserError
from uda4inst.run_folder.control import Control, Request, leave_request, take_requests
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.start import (
    SAVED_CODES,
    TRAINER,
    TrainerProcess,
    device_settings,
    resume_arguments,
    start,
)
from uda4inst.run_folder.status import StatusFile, is_finished, read_status
from uda4inst.training.config import Config
from uda4inst.training.journal import RunFailedError
from uda4inst.training.loop import Outcome, Progress

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_PASSED_ON: Final[frozenset[Request]] = frozenset({"pause", "resume", "snapshot"})


def train_at_once(
    run: RunDir,
    modules: Sequence[RunDir],
    config: Config,
    *,
    status: StatusFile,
    watch: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Train modules in processes of their own, `training.modules_at_once` at a time.

    Args:
        run: the run of all groups.
        modules: its modules' run folders.
        config: the run's configuration.
        status: of the run.
        watch: told about progress.

    Raises:
        UserError: the run itself is one of several processes.
        RunFailedError: a module failed; the others were stopped and keep their checkpoints.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "training.modules_at_once must be 1 when several processes train one network, got "
            f"{config.training.modules_at_once}. Set it to 1, or start a single process."
        )
    work = _Work(modules, at_once=config.training.modules_at_once)
    control = Control(None)
    with control.listening():
        try:
            while work.is_left:
                work.start_next()
                requests = take_requests(run.control)
                if "stop" in requests or control.signal:
                    work.stop()
                _pass_on(requests, work.running)
                work.look_after()
                _report(modules, config, status, watch)
                time.sleep(_LOOK_SECONDS)
        finally:
            work.end()
    if work.failure:
        raise RunFailedError(work.failure)
    done = sum(told.step for m in modules if (told := read_status(m)) is not None)
    states = {_state(m) for m in modules}
    if states == {"finished"}:
        return Outcome("finished", done)
    return Outcome("stopped", done, control.signal)


class _Work:
    """Which modules wait and which run.

    Args:
        modules: all of the run's.
        at_once: how many may run at the same time.
    """

    def __init__(self, modules: Sequence[RunDir], *, at_once: int) -> None:
        self.modules = modules
        self.at_once = at_once
        self.waiting = [m for m in modules if not is_finished(m)]
        self.running: dict[RunDir, TrainerProcess] = {}
        self._slots: dict[RunDir, int] = {}
        self.failure = ""

    @property
    def is_left(self) -> bool:
        """Whether a module waits or runs."""
        return bool(self.waiting or self.running)

    def start_next(self) -> None:
        """Start waiting modules while there is room."""
        while self.waiting and len(self.running) < self.at_once:
            module = self.waiting.pop(0)
            self._slots[module] = slot = self._free_slot()
            self.running[module] = _start(module, slot=slot)

    def stop(self) -> None:
        """Start no more modules and ask those that run to save and stop, once."""
        self.waiting.clear()
        self._ask_to_stop()

    def look_after(self) -> None:
        """Forget the modules that have ended; one that failed stops the others."""
        for module, child in list(self.running.items()):
            code = child.poll()
            if code is None:
                continue
            del self.running[module], self._slots[module]
            log.info("category group %s ended with exit code %d", module.name, code)
            if code in (0, *SAVED_CODES):
                continue
            told = read_status(module)
            reason = (told.error if told else None) or f"exit code {code}"
            message = f"category group {module.name}: {reason} ({module.console})"
            self.failure = self.failure or message
        if self.failure:
            self.stop()

    def end(self) -> None:
        """Ask whatever runs to stop, and wait for it."""
        self._ask_to_stop()
        for child in self.running.values():
            child.wait()

    def _ask_to_stop(self) -> None:
        for child in self.running.values():
            child.stop()

    def _free_slot(self) -> int:
        return next(n for n in range(self.at_once) if n not in self._slots.values())


def _start(module: RunDir, *, slot: int) -> TrainerProcess:
    """Start the trainer of a module, where there are several GPUs on that of its slot."""
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(n) for n in range(count)]
    return start(
        (*TRAINER, *resume_arguments(module)),
        console=module.console,
        environment=device_settings(names[slot % count] if count > 1 else None),
        ends_with_parent=True,
    )


def _pass_on(requests: frozenset[Request], running: Iterable[RunDir]) -> None:
    for request in requests & _PASSED_ON:
        for module in running:
            leave_request(module.control, request)


def _report(
    modules: Sequence[RunDir],
    config: Config,
    status: StatusFile,
    watch: Callable[[Progress], None] | None,
) -> None:
    """Add up the modules' progress."""
    found = [told for m in modules if (told := read_status(m)) is not None]
    step = sum(told.step for told in found)
    left = [told.eta_seconds for told in found if told.eta_seconds is not None]
    rates = [told.steps_per_second for told in found if told.steps_per_second]
    paused = any(told.state == "paused" for told in found)
    stage = max((told.stage for told in found), default=1)
    status.update(
        step=step,
        stage=stage,
        eta_seconds=max(left, default=None),
        steps_per_second=sum(rates) or None,
    )
    status.enter("paused" if paused else "running")
    if watch:
        steps = config.training.total_steps * len(modules)
        watch(Progress(step, steps, stage, seconds_left=max(left, default=None)))


def _state(module: RunDir) -> str | None:
    """Return the state a module has written; None before it has said anything."""
    status = read_status(module)
    return None if status is None else status.state
