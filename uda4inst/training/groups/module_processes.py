"""Category groups trained at the same time: a process each, on a GPU each where there are several.

The parent trains nothing. It starts the modules, passes requests on to them, and adds up what their
`status.json` files say. A child is an ordinary `uda4inst resume` and can be watched as such.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from uda4inst.errors import UserError
from uda4inst.run_folder.control import Control
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.status import StatusFile
from uda4inst.training.config import Config
from uda4inst.training.journal import RunFailedError
from uda4inst.training.loop import Outcome, Progress

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1  # of Linux' <sys/prctl.h>
_PASSED_ON: Final = ("pause", "resume", "snapshot")


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
                requests = _requests(run)
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
    done = sum(int(_status(m).get("step", 0)) for m in modules)
    states = {_status(m).get("state") for m in modules}
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
        self.waiting = [m for m in modules if _status(m).get("state") != "finished"]
        self.running: dict[RunDir, subprocess.Popen[bytes]] = {}
        self.failure = ""
        self.is_stopping = False

    @property
    def is_left(self) -> bool:
        """Whether a module waits or runs."""
        return bool(self.waiting or self.running)

    def start_next(self) -> None:
        """Start waiting modules while there is room."""
        while self.waiting and len(self.running) < self.at_once:
            module = self.waiting.pop(0)
            self.running[module] = _start(module, slot=self._free_slot())

    def stop(self) -> None:
        """Start no more modules and ask those that run to save and stop, once."""
        self.waiting.clear()
        if not self.is_stopping:
            self.is_stopping = True
            self._ask_to_stop()

    def look_after(self) -> None:
        """Forget the modules that have ended; one that failed stops the others."""
        for module, child in list(self.running.items()):
            code = child.poll()
            if code is None:
                continue
            del self.running[module]
            log.info("category group %s ended with exit code %d", module.name, code)
            if code in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT):
                continue
            reason = _status(module).get("error") or f"exit code {code}"
            message = f"category group {module.name}: {reason} ({module.path / 'console.txt'})"
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
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

    def _free_slot(self) -> int:
        taken = {self.modules.index(module) for module in self.running}
        return next(n for n in range(len(self.modules)) if n not in taken)


def _start(module: RunDir, *, slot: int) -> subprocess.Popen[bytes]:
    """Start the trainer of a module on the GPU of its slot."""
    environment = dict(os.environ)
    devices = torch.cuda.device_count()
    if devices > 1:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(n) for n in range(devices)]
        environment["CUDA_VISIBLE_DEVICES"] = names[slot % devices]
    console = (module.path / "console.txt").open("ab")
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "uda4inst.cli", "resume", str(module.path)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is passed on once, not heard twice
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    finally:
        console.close()


def _end_with_parent() -> None:
    """Ask the system to tell this process to save and stop when its parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _requests(run: RunDir) -> frozenset[str]:
    """Return what the run is asked for, and take the requests away."""
    if not run.control.is_dir():
        return frozenset()
    names = frozenset(path.name for path in run.control.iterdir())
    for name in names:
        (run.control / name).unlink(missing_ok=True)
    return names


def _pass_on(requests: frozenset[str], running: dict[RunDir, Any]) -> None:
    for name in requests & frozenset(_PASSED_ON):
        for module in running:
            (module.control / name).touch()


def _report(
    modules: Sequence[RunDir],
    config: Config,
    status: StatusFile,
    watch: Callable[[Progress], None] | None,
) -> None:
    """Add up the modules' progress."""
    found = [_status(m) for m in modules]
    step = sum(int(f.get("step", 0)) for f in found)
    left = [f["eta_seconds"] for f in found if f.get("eta_seconds") is not None]
    rates = [f["steps_per_second"] for f in found if f.get("steps_per_second")]
    paused = any(f.get("state") == "paused" for f in found)
    stage = max(int(f.get("stage", 1)) for f in found)
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


def _status(module: RunDir) -> dict[str, Any]:
    """Return what a module says of itself; nothing before it has said anything."""
    try:
        return json.loads(module.status.read_bytes())
    except (OSError, ValueError):
        return {}
