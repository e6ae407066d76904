"""`status.json`: what a run is doing, signed every few seconds while its process lives."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, Literal

from uda4inst.atomic import write_json

log = logging.getLogger(__name__)

State = Literal["queued", "running", "paused", "finished", "failed", "stopped"]


class StatusFile:
    """Keeps `status.json` true and fresh from a thread of its own.

    Progress is written with the next heartbeat, a change of state at once. The thread also signs
    during a long evaluation or while paused, so a reader can tell a busy trainer from a dead one.

    Args:
        path: the file.
        steps: length of the run.
        every: seconds between heartbeats.
        above: the status of the run this one is a part of; told about changes of state.
    """

    def __init__(
        self, path: Path, *, steps: int, every: float, above: StatusFile | None = None
    ) -> None:
        self._above = above
        self._path = path
        self._every = every
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._fields: dict[str, Any] = {
            "state": "running",
            "step": 0,
            "steps": steps,
            "stage": 1,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "heartbeat": time.time(),
            "error": None,
            "message": "",
            "steps_per_second": None,
            "eta_seconds": None,
        }
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write the first status and begin to sign."""
        self._write()
        self._thread.start()

    def update(self, **fields: Any) -> None:
        """Change progress; the next heartbeat writes it."""
        self._fields.update(fields)

    def enter(self, state: State, *, message: str = "") -> None:
        """Change the state and write it at once, unless it is what it was."""
        if (state, message) != (self._fields["state"], self._fields["message"]):
            self._fields.update(state=state, message=message)
            self._write()
            if self._above is not None:
                self._above.enter(state, message=message)

    def close(self, state: State, *, error: str | None = None, message: str = "") -> None:
        """Write the last status; nothing is written after it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._fields.update(
            state=state, error=error, message=message, eta_seconds=None, steps_per_second=None
        )
        self._write()

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            self._write()

    def _write(self) -> None:
        with self._lock:
            self._fields["heartbeat"] = time.time()
            try:
                write_json(self._path, dict(self._fields))
            except OSError as error:
                # A full disk must not end a run that could still make room and go on.
                log.warning("%s could not be written: %s", self._path, error)
