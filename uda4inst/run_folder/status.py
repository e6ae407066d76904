"""`status.json`: what a run is doing, signed every few seconds while its process lives.

The writer is `StatusFile`; `read_status` and `load_status` are the only readers. Whether what is
written is still true is `uda4inst.run_folder.trainer`'s to say.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypedDict, Unpack, cast, get_args

from uda4inst.atomic import write_json
from uda4inst.errors import UserError
from uda4inst.reading import read_json
from uda4inst.run_folder.alive import creation_time, this_host
from uda4inst.run_folder.layout import RunDir

log = logging.getLogger(__name__)

MAX_STATUS: Final = 2**20  # bytes; pages read it every two seconds

State = Literal["queued", "running", "paused", "finished", "failed", "stopped"]
# What a reader may find beyond what is written: the process has not signed yet, or is gone; nothing
# readable is there; a category group's turn has not come.
SeenState = Literal[State, "starting", "dead", "incomplete", "waiting"]
# What a double holds exactly; no step, process or second since 1970 is beyond it.
_LARGEST_COUNT: Final = 2**53
_MOST_LETTERS: Final = 20_000
LIVE_STATES: Final[frozenset[str]] = frozenset({"queued", "starting", "running", "paused"})


@dataclass(frozen=True, slots=True)
class Status:
    """State and progress of a run; the fields are the keys of `status.json`.

    Args:
        state: as written; readers that check it against the process put "dead" and the like here.
        step: optimizer updates done, over all networks of a run of several groups.
        steps: length of the run.
        stage: 1 or 2.
        pid: the trainer's process; None where it does not say.
        process_started: when that process was created, unix seconds; None in runs that did not
            write it.
        host: its machine.
        started: when the trainer began, ISO 8601.
        heartbeat: unix seconds of the last signature.
        error: what ended the run.
        message: what it is doing, for people.
        steps_per_second: smoothed; None while unknown.
        eta_seconds: time left; None while unknown.
    """

    state: SeenState
    step: int = 0
    steps: int = 0
    stage: int = 1
    pid: int | None = None
    process_started: float | None = None
    host: str = ""
    started: str = ""
    heartbeat: float = 0.0
    error: str | None = None
    message: str = ""
    steps_per_second: float | None = None
    eta_seconds: float | None = None

    @property
    def live(self) -> bool:
        """Whether a process works on the run or will, or says so."""
        return self.state in LIVE_STATES

    @property
    def progress(self) -> float:
        """Share of the steps that are done, 0..1."""
        return min(self.step / self.steps, 1.0) if self.steps > 0 else 0.0


class StatusChange(TypedDict, total=False):
    """What a trainer tells with the next heartbeat; see `Status`."""

    step: int
    stage: int
    message: str
    steps_per_second: float | None
    eta_seconds: float | None


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
        self._status = Status(
            state="running",
            steps=steps,
            pid=os.getpid(),
            host=this_host(),
            started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        )
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write the first status and begin to sign."""
        self._write()
        self._thread.start()

    def update(self, **progress: Unpack[StatusChange]) -> None:
        """Change progress; the next heartbeat writes it."""
        self._status = replace(self._status, **progress)

    def enter(self, state: State, *, message: str = "") -> None:
        """Change the state and write it at once, unless it is what it was."""
        if (state, message) != (self._status.state, self._status.message):
            self._status = replace(self._status, state=state, message=message)
            self._write()
            if self._above is not None:
                self._above.enter(state, message=message)

    def close(self, state: State, *, error: str | None = None, message: str = "") -> None:
        """Write the last status; nothing is written after it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._status = replace(
            self._status,
            state=state,
            error=error,
            message=message,
            eta_seconds=None,
            steps_per_second=None,
        )
        self._write()

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            self._write()

    def _write(self) -> None:
        with self._lock:
            # Of a clock that was set meanwhile, the start of the process follows.
            signed = replace(
                self._status, heartbeat=time.time(), process_started=creation_time(os.getpid())
            )
            try:
                write_json(self._path, asdict(signed))
            except OSError as error:
                # A full disk must not end a run that could still make room and go on.
                log.warning("%s could not be written: %s", self._path, error)


def read_status(run: RunDir) -> Status | None:
    """Return what a run says of itself; None where it says nothing that can be read."""
    try:
        return load_status(run.status)
    except (OSError, UserError):
        return None


def load_status(path: Path) -> Status:
    """Return the content of a `status.json`, not checked against the process.

    A field that is missing, of another type or no number of anything is as if it were not written;
    the state must be one.

    Raises:
        FileNotFoundError: there is none.
        UserError: it holds something else.
    """
    try:
        return _parsed(read_json(path, limit=MAX_STATUS))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"status.json must hold the state of the run, got something unreadable ({path}: "
            f"{error}). Restart the run from a checkpoint, or delete the folder."
        ) from error


def status_changed(run: RunDir) -> float:
    """Return when a run last signed by the clock of its disk (unix seconds), 0 if it never did."""
    try:
        return run.status.stat().st_mtime
    except OSError:
        return 0.0


def begun(run: RunDir) -> float:
    """Return when a run's configuration was written (unix seconds), 0 where there is none."""
    try:
        return run.config.stat().st_mtime
    except OSError:
        return 0.0


def is_finished(run: RunDir) -> bool:
    """Whether a run has ended well."""
    status = read_status(run)
    return status is not None and status.state == "finished"


def _parsed(raw: object) -> Status:
    values = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    state = values.get("state")
    if state not in get_args(State):
        raise ValueError(f"state {state!r}")
    error = values.get("error")
    return Status(
        state=cast(State, state),
        step=_count(values.get("step")) or 0,
        steps=_count(values.get("steps")) or 0,
        stage=_count(values.get("stage")) or 1,
        pid=_count(values.get("pid")),
        process_started=_number(values.get("process_started")),
        host=_text(values.get("host")),
        started=_text(values.get("started")),
        heartbeat=_number(values.get("heartbeat")) or 0.0,
        error=None if error is None else _text(str(error)),
        message=_text(values.get("message")),
        steps_per_second=_number(values.get("steps_per_second")),
        eta_seconds=_number(values.get("eta_seconds")),
    )


def _count(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _LARGEST_COUNT else None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and abs(value) <= _LARGEST_COUNT else None


def _text(value: object) -> str:
    return value[:_MOST_LETTERS] if isinstance(value, str) else ""
