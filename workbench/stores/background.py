"""Long work that a page waits for: one piece at a time, in a thread that ends with the app."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

# Most things are there at once; a page that can be drawn whole is not drawn twice.
_PATIENCE: Final = 1.0
# A page that waits asks every few seconds, on a busy machine every ten.
_UNASKED: Final = 30.0
_UNASKED_BY_MORE: Final = 12.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work is.

    Args:
        what: is worked at; "" before it is its turn.
        done: images done.
        total: images in all; 0 before it is known.
    """

    what: str = ""
    done: int = 0
    total: int = 0


Tell: TypeAlias = Callable[[str, int, int], None]


@dataclass(slots=True, eq=False)
class _Job:
    asked: float
    progress: Progress = Progress()
    ended: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class _Unasked(Exception):
    """Nobody waits for it any more."""


class Background:
    """Does pieces of work that somebody waits for; what nobody asks for any more is given up.

    Args:
        patience: seconds that `ask` waits before it says how far the work is.
        unasked: seconds without `ask` after which a piece is given up: while no other waits for
            its turn, and while one does.
    """

    def __init__(
        self,
        *,
        patience: float | None = None,
        unasked: tuple[float, float] = (_UNASKED, _UNASKED_BY_MORE),
    ) -> None:
        self._patience = _PATIENCE if patience is None else patience
        self._unasked = unasked
        self._jobs: dict[Hashable, _Job] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def ask(self, key: Hashable, work: Callable[[Tell], object]) -> Progress | None:
        """Return how far a piece of work is, begun if nobody has; None once it is done.

        Args:
            key: what is worked at; the same is not begun twice.
            work: does it and keeps what it made; is told to tell (what, done, total) after every
                image, which raises where nobody waits any more.

        Raises:
            Exception: what the work raised, once; the next to ask has it tried again.
        """
        with self._lock:
            job = self._jobs.get(key) or self._begin(key, work)
            job.asked = time.monotonic()
        if not job.ended.wait(self._patience):
            return job.progress
        with self._lock:
            if self._jobs.get(key) is job:
                del self._jobs[key]
        if job.error is not None:
            raise job.error
        return None

    def _begin(self, key: Hashable, work: Callable[[Tell], object]) -> _Job:
        for other in [k for k, one in self._jobs.items() if one.ended.is_set() and self._late(one)]:
            del self._jobs[other]
        job = self._jobs[key] = _Job(time.monotonic())
        threading.Thread(
            target=self._run, args=(key, job, work), name="background", daemon=True
        ).start()
        return job

    def _run(self, key: Hashable, job: _Job, work: Callable[[Tell], object]) -> None:
        def tell(what: str, done: int, total: int) -> None:
            job.progress = Progress(what, done, total)
            with self._lock:
                if self._late(job):
                    del self._jobs[key]
                    raise _Unasked

        try:
            with self._turn:
                tell("", 0, 0)
                work(tell)
        except _Unasked:
            return
        except Exception as error:  # whoever asks next is above it
            job.error = error
        job.ended.set()

    def _late(self, job: _Job) -> bool:
        others = any(one is not job and not one.ended.is_set() for one in self._jobs.values())
        return time.monotonic() - job.asked > self._unasked[others]
