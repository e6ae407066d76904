"""What people want from a running trainer: files in `control/`, SIGTERM and Ctrl-C.

Across processes everyone must stop, or save, at the same step. So each step begins with one small
exchange on the CPU, in which whatever one process was asked for becomes known to all.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, Literal, get_args

import torch
from torch import distributed

log = logging.getLogger(__name__)

Request = Literal["pause", "resume", "stop", "snapshot"]
REQUESTS: Final[tuple[Request, ...]] = get_args(Request)
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What all processes do next.

    Args:
        stop: save a checkpoint and end.
        signal: the signal that asked for it, or 0.
        paused: wait.
        snapshot: write a snapshot of the next step.
        failed: some process cannot go on; end without saving.
    """

    stop: bool = False
    signal: int = 0
    paused: bool = False
    snapshot: bool = False
    failed: bool = False


class Control:
    """Collects what is wanted of this process and agrees on it with the others.

    Args:
        folder: the run's `control/`; None on every process but the first.
        group: a CPU process group, or None for a single process.
    """

    def __init__(
        self, folder: Path | None, *, group: distributed.ProcessGroup | None = None
    ) -> None:
        self._folder = folder
        self._group = group
        self._paused = False
        self._failed = False
        self.signal = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGTERM and Ctrl-C into a wish to stop; a second one acts as it always does.

        Does nothing outside the main thread, where signals cannot be handled.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A shell without job control starts background jobs deaf to Ctrl-C; they stay so.
        earlier = {
            number: handler
            for number in _SIGNALS
            if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
        }

        def handle(number: int, frame: FrameType | None) -> None:
            del frame
            self.signal = number
            signal.signal(number, earlier[signal.Signals(number)])

        for number in earlier:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    @property
    def interrupted(self) -> bool:
        """Whether this process was asked to stop, so that a long evaluation can give up."""
        stop_asked = self._folder is not None and "stop" in pending_requests(self._folder)
        return bool(self.signal) or stop_asked

    def announce_failure(self) -> None:
        """Tell the others, who are at or before their next exchange, that this process ends."""
        self._failed = True
        self.ask()

    def ask(self) -> Wishes:
        """Return what all processes do now. Every process calls this equally often."""
        requests = frozenset() if self._folder is None else take_requests(self._folder)
        if "pause" in requests:
            self._paused = True
        if "resume" in requests:
            self._paused = False
        own = [
            int("stop" in requests or bool(self.signal)),
            self.signal,
            int(self._paused),
            int("snapshot" in requests),
            int(self._failed),
        ]
        stop, number, paused, snapshot, failed = self._agree(own)
        return Wishes(
            stop=bool(stop),
            signal=number,
            paused=bool(paused) and not stop and not failed,
            snapshot=bool(snapshot),
            failed=bool(failed),
        )

    def _agree(self, own: list[int]) -> list[int]:
        """Return the largest of each value over all processes."""
        if self._group is None:
            return own
        values = torch.tensor(own)
        distributed.all_reduce(values, op=distributed.ReduceOp.MAX, group=self._group)
        return [int(value) for value in values]


def leave_request(folder: Path, request: Request) -> None:
    """Ask the trainer that listens to a folder for something; it obeys after the step it is in."""
    folder.mkdir(exist_ok=True)
    (folder / request).touch()


def pending_requests(folder: Path) -> list[Request]:
    """Return the requests in a folder that nobody has obeyed yet; the folder need not exist."""
    return [request for request in REQUESTS if (folder / request).is_file()]


def take_requests(folder: Path) -> frozenset[Request]:
    """Return the requests in a folder, and delete them: they are being obeyed.

    Whatever else lies there stays, such as folders that a file browser makes.
    """
    found = frozenset(pending_requests(folder))
    for request in found:
        (folder / request).unlink(missing_ok=True)
    return found
