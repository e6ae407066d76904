"""Notices that another process of the run is gone, or stands still.

What processes exchange is waited for as long as it takes: the first of them may be evaluating, or
paused. So that nobody waits for days for one that was stopped, or whose machine is off, each also
counts up in the store where all of them met, from a thread of its own, and looks at the others'
counts.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final, Protocol

from torch import distributed

from uda4inst.errors import UserError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
# As many looks without a change are a process that is no longer there: 40 s. They are counted, not
# timed, so that a machine that slept, or a run stopped as a whole, finds everybody as it was.
MISSED_LOOKS: Final = 20
_LEFT: Final = 2**40  # far beyond what is ever counted up to
_RESUME: Final = "Look at its machine, then resume the run: it goes on from its last checkpoint."


class Store(Protocol):
    """Where processes met: of `torch.distributed.TCPStore`, what is used here."""

    def add(self, key: str, amount: int) -> int:
        """Add to a number that all processes see, 0 at first, and return it."""
        ...


class Peers:
    """Counts for this process, and watches the counts of the others.

    Args:
        store: of this object alone; it is used in another thread.
        rank: index of this process.
        count: number of processes.
        meeting: which of the meetings of these processes this is.
        end: called, in a thread of this object, with a message when another process is lost; the
            main thread may be waiting for that one, and must be ended with the process.
    """

    def __init__(
        self, store: Store, *, rank: int, count: int, meeting: int, end: Callable[[str], None]
    ) -> None:
        self._store = store
        self._keys = [f"uda4inst/{meeting}/{number}" for number in range(count)]
        self._rank = rank
        self._seen = [0] * count
        self._missed = [0] * count
        self._store_missed = 0
        self._left = threading.Event()
        self.end = end
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)

    def start(self) -> None:
        """Begin to count and to look."""
        self._thread.start()

    def leave(self) -> None:
        """Say that this process is about to end, and count no more."""
        self._left.set()
        self._thread.join()
        with suppress(RuntimeError):
            self._store.add(self._keys[self._rank], _LEFT)

    def look(self) -> str | None:
        """Count for this process, look at the others once, and return what is wrong."""
        try:
            counts = [
                self._store.add(key, int(i == self._rank)) for i, key in enumerate(self._keys)
            ]
        except RuntimeError:  # torch's errors of the network are such
            self._store_missed += 1
            if self._store_missed < MISSED_LOOKS:
                return None
            return (
                f"the processes' store must answer, got nothing for {MISSED_LOOKS} looks "
                f"(process {self._rank}). Whatever started the processes is gone, or the first of "
                f"them. {_RESUME}"
            )
        self._store_missed = 0
        for other, number in enumerate(counts):
            is_there = number != self._seen[other] or number >= _LEFT
            self._missed[other] = 0 if is_there else self._missed[other] + 1
        self._seen = counts
        lost = [str(other) for other, missed in enumerate(self._missed) if missed >= MISSED_LOOKS]
        if not lost:
            return None
        return (
            f"every process of the run must show that it lives, got no sign of process "
            f"{', '.join(lost)} for {MISSED_LOOKS * LOOK_SECONDS:.0f} s (seen by process "
            f"{self._rank}): stopped, or its machine is gone. {_RESUME}"
        )

    def _watch(self) -> None:
        while not self._left.wait(LOOK_SECONDS):
            if (message := self.look()) is not None:
                self.end(message)
                return


def open_store() -> distributed.TCPStore:
    """Return a connection of its own to the store that the launcher has announced."""
    return distributed.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        timeout=timedelta(seconds=LOOK_SECONDS),
    )


def end_now(message: str) -> None:
    """Say why, and end this process whatever its main thread waits for."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(1)


@contextmanager
def losing_a_process() -> Iterator[None]:
    """Turn a connection that broke, because another process is gone, into one message.

    Raises:
        UserError: instead of what torch says of it.
    """
    try:
        yield
    except RuntimeError as error:
        said = " ".join(str(error).split())
        if not isinstance(error, distributed.DistError) and "gloo" not in said:
            raise
        raise UserError(
            "every process of the run must be there, got a broken connection to another one "
            f"({said[:200]}): it was killed, or has ended with an error of its own. {_RESUME}"
        ) from error
