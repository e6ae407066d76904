"""The one way to start a trainer: a process in a session of its own, its words in a file.

What asks it to stop: a request in the run's `control/` (`uda4inst.run_folder.control`), SIGTERM
where it may not listen yet, SIGKILL where it must end at once. A trainer saves on the first two.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from uda4inst.run_folder.alive import is_alive, runs_command
from uda4inst.run_folder.layout import RunDir

# Understands `train CONFIG` and `resume RUN`; tests put another in its place.
TRAINER: Final[tuple[str, ...]] = (sys.executable, "-m", "uda4inst.cli")
# How a trainer ends that was asked to: after saving, or too early to have anything to save.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SAVED_CODES: Final = tuple(128 + number for number in STOP_SIGNALS)
STOPPED_CODES: Final = (*SAVED_CODES, *(-number for number in STOP_SIGNALS))
_PR_SET_PDEATHSIG: Final = 1  # of Linux' <sys/prctl.h>


def train_arguments(config: Path) -> tuple[str, ...]:
    """Return the arguments that begin a run with a configuration file."""
    return ("train", str(config))


def resume_arguments(run: RunDir, *, step: int | None = None) -> tuple[str, ...]:
    """Return the arguments that go on with a run, from a checkpoint or the latest."""
    return ("resume", str(run.path), *(() if step is None else ("--from", str(step))))


def thread_settings(processes: int) -> dict[str, str]:
    """Return the variables that share the cores among processes, unless they are given."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}


def device_settings(device: str | None) -> dict[str, str]:
    """Return the variable that gives a process one GPU; None leaves the choice to the process."""
    return {} if device is None else {"CUDA_VISIBLE_DEVICES": device}


class TrainerProcess:
    """A trainer that was started by `start`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._is_asked = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Return its exit code when it has ended."""
        return self._process.wait()

    def stop(self) -> None:
        """Ask it to save and end; asking again changes nothing.

        A trainer takes a second signal for impatience and ends without saving.
        """
        if not self._is_asked:
            self._is_asked = True
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def start(
    command: Sequence[str],
    *,
    console: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    ends_with_parent: bool = False,
) -> TrainerProcess:
    """Start a command in a session of its own: Ctrl-C on a terminal reaches whoever started it.

    Args:
        command: program and arguments.
        console: file to which its output is added; made with its folder where it is missing.
        environment: variables on top of this process's own.
        folder: working directory; None for this process's.
        ends_with_parent: it is asked to save and stop when this process is gone (Linux only).
            Otherwise it lives on.
    """
    console.parent.mkdir(parents=True, exist_ok=True)
    with console.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if ends_with_parent and sys.platform == "linux" else None,
        )
    return TrainerProcess(process)


def ask_to_end(
    pid: int, *, started: float, any_of: Sequence[Sequence[str]], group: bool = False
) -> bool:
    """Ask a process of this machine, started by whomever, to save and end.

    What files say of process ids may be old or wrong, so a process that does not look like the one
    that is meant is left alone.

    Args:
        pid: its process id.
        started: when it was started, unix seconds.
        any_of: arguments one of which it was started with.
        group: whether the processes that it has started are asked too.

    Returns:
        Whether it was asked; False where no such process runs.
    """
    if not is_alive(pid, signed_at=started, created=started):
        return False
    if not any(runs_command(pid, arguments) for arguments in any_of):
        return False
    with suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(pid, signal.SIGTERM)
    return True


def _end_with_parent() -> None:
    """Ask the system to tell this process to save and stop when its parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
