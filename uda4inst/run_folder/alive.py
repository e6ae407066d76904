"""Whether a process that signed a file is still there: the one place that asks the system."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from functools import cache
from typing import Final

import psutil

# Clocks of the kernel and of Python may differ by a little; process ids are not reused this fast.
CREATION_TOLERANCE_SECONDS: Final = 5.0
# How long a process may have no command line: milliseconds, and longer on a busy machine.
COMMAND_SECONDS: Final = 2.0


@cache
def this_host() -> str:
    """Return the name under which processes of this machine sign."""
    return socket.gethostname()


def creation_time(pid: int) -> float | None:
    """Return when a process was created (unix seconds), or None when it does not run.

    0.0 stands for a process that exists and is not ours to look into.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None
    except psutil.AccessDenied:
        return 0.0


def runs_command(pid: int, arguments: Sequence[str]) -> bool:
    """Return whether a process was started with these arguments, one after the other.

    Args:
        pid: process id on this machine.
        arguments: as they were given to it, whatever comes before and after.
    """
    try:
        command = _command_line(psutil.Process(pid))
    except (psutil.Error, ValueError, OverflowError):
        return False
    wanted, count = list(arguments), len(arguments)
    return any(command[i : i + count] == wanted for i in range(len(command) - count + 1))


def _command_line(process: psutil.Process) -> list[str]:
    """Return what a process was started with; for a moment after its start the system has none."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while not (command := process.cmdline()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return command


def is_alive(pid: int, *, signed_at: float, created: float | None = None) -> bool:
    """Return whether the process that signed a file at `signed_at` still runs.

    A process created after the signature, or at another time than the file says, is another one
    that was given the same id.

    Args:
        pid: process id on this machine.
        signed_at: unix seconds at which the process last showed that it lived.
        created: unix seconds of its creation as it wrote it down; None where it did not.
    """
    found = creation_time(pid)
    if found is None or found > signed_at + CREATION_TOLERANCE_SECONDS:
        return False
    if created is None or found == 0.0:
        return True
    return abs(found - created) <= CREATION_TOLERANCE_SECONDS
