"""Who trains a run: one process at a time, which holds the run's lock and signs its status."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from uda4inst.atomic import disk_errors, remove_leftovers
from uda4inst.errors import UserError
from uda4inst.run_folder.alive import is_alive, this_host
from uda4inst.run_folder.control import take_requests
from uda4inst.run_folder.layout import RunDir, read_config_values
from uda4inst.run_folder.status import Status, read_status

log = logging.getLogger(__name__)

# A trainer on another machine signs every 2 s; four missed signatures are a dead one.
FOREIGN_HEARTBEAT_SECONDS: Final = 10.0
# A clock may be ahead of ours by this much; what is signed later than that proves nothing.
_AHEAD_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5
# A reader that looks at the lock holds it for an instant; whoever wants it tries again.
_LOCK_TRIES: Final = 10
_LOCK_SECONDS: Final = 0.02


@contextmanager
def locked(run: RunDir) -> Iterator[None]:
    """Hold the run's lock: one trainer at a time.

    The lock goes with the process, however it ends. Loader workers forked from it give their copy
    up, or one that outlives a killed trainer would keep the run closed.

    Raises:
        UserError: another process holds the lock, or a trainer on another machine, which a lock
            may not reach, is at work; or the folder cannot be written to.
    """
    with _disk_errors(run):
        descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT, 0o644)
    held = [descriptor]
    os.register_at_fork(after_in_child=lambda: [os.close(held.pop()) for _ in held[:]])
    try:
        with _disk_errors(run):
            _take(descriptor, run)
        _refuse_foreign(run)
        with _disk_errors(run):
            clean_up(run)
        yield
    finally:
        os.close(held.pop())


def _disk_errors(run: RunDir) -> AbstractContextManager[None]:
    return disk_errors("run folder", run.path, then=f"`uda4inst resume {run.path}`")


def _take(descriptor: int, run: RunDir) -> None:
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if not tries_left:
                raise UserError(
                    f"run {run.name!r} must have one trainer, got a second while the first still "
                    f"runs ({run.path}, {_owner(run)}). Wait for it, or stop it first."
                ) from error
            time.sleep(_LOCK_SECONDS)


def _refuse_foreign(run: RunDir) -> None:
    """Raise while a trainer on another machine signs.

    Its clock may be hours from ours, so its signature is watched: one that changes is alive.
    """
    first = read_status(run)
    if first is None or not first.live or first.host in ("", this_host()):
        return
    log.info("waiting for a sign of life from %s, which trained %s last", first.host, run.path)
    deadline = time.monotonic() + _patience(run)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        status = read_status(run)
        if status is not None and status.live and status.heartbeat != first.heartbeat:
            raise UserError(
                f"run {run.name!r} must have one trainer, got a second while the first still runs "
                f"on another machine ({run.path}, {_owner(run)}). Stop it there, or by `touch "
                f"{run.control / 'stop'}`; then resume."
            )


def _patience(run: RunDir) -> float:
    """Return how long a run of another machine may not sign and live: four signatures, or 10 s."""
    try:
        training = read_config_values(run.config).get("training")
    except FileNotFoundError:
        training = None
    every = training.get("heartbeat_seconds") if isinstance(training, dict) else None
    four = 4.0 * every if isinstance(every, int | float) else 0.0
    return max(FOREIGN_HEARTBEAT_SECONDS, four)


def is_held(run: RunDir) -> bool:
    """Whether a process of this machine holds a run's lock."""
    try:
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a disk without locks
    finally:
        os.close(descriptor)
    return False


def clean_up(run: RunDir) -> None:
    """Remove unfinished files of a killed trainer, and requests nobody will obey any more."""
    folders = [run.path, run.checkpoints, run.snapshots, run.evaluation, run.failed_batch]
    for folder in (*folders, *run.predictions_of(0).parent.glob("*")):
        remove_leftovers(folder)
    take_requests(run.control)


def living_trainer(run: RunDir) -> Status | None:
    """Return the status of a run at which a trainer is at work right now, else None."""
    status = read_status(run)
    if status is None or not status.live or why_dead(run, status) is not None:
        return None
    return status


def why_dead(run: RunDir, status: Status, *, now: float | None = None) -> str | None:
    """Return why a trainer that has signed as alive is taken for dead; None while it lives.

    On this machine its process must run, and be the one that signed; a trainer that holds the
    run's lock and has not signed yet lives too. On another machine only its heartbeat is known.

    Args:
        run: where it trains.
        status: what it wrote, in a live state.
        now: unix seconds; None for this moment.
    """
    if status.host == this_host() and status.pid is not None:
        signed, created = status.heartbeat, status.process_started
        if is_alive(status.pid, signed_at=signed, created=created) or is_held(run):
            return None
        return f"process {status.pid} no longer runs"
    age = (time.time() if now is None else now) - status.heartbeat
    if -_AHEAD_SECONDS <= age <= FOREIGN_HEARTBEAT_SECONDS or 0 < age <= _patience(run):
        return None
    if age < 0:
        return f"signed {-age:.0f} s ahead of our clock by {status.host or 'its host'}"
    return f"no sign of life from {status.host or 'its host'} for {age:.0f} s"


def _owner(run: RunDir) -> str:
    """Return the process that signed the status, and its machine, for a message."""
    status = read_status(run)
    if status is None or status.pid is None:
        return "pid unknown"
    return f"pid {status.pid}" + (f" on {status.host}" if status.host else "")
