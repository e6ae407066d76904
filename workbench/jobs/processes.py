"""Whether the process that writes a run is still there."""

from __future__ import annotations

import socket
from functools import cache

import psutil

# Clocks of the kernel and of Python may differ by a little; process ids are not reused this fast.
CREATION_TOLERANCE_SECONDS = 5.0


@cache
def this_host() -> str:
    """Return the name under which trainers on this machine sign their status."""
    return socket.gethostname()


def creation_time(pid: int) -> float | None:
    """Return when a process was created (unix seconds), or None when it does not run."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except (psutil.NoSuchProcess, ValueError):
        return None
    except psutil.AccessDenied:
        # It exists and is not ours to look into.
        return 0.0


def is_alive(pid: int, *, signed_at: float) -> bool:
    """Return whether the process that signed a file at `signed_at` still runs.

    A process created after the signature is another one that was given the same id.

    Args:
        pid: process id on this machine.
        signed_at: unix seconds at which the process last showed that it lived.
    """
    created = creation_time(pid)
    return created is not None and created <= signed_at + CREATION_TOLERANCE_SECONDS
