"""The same work on every image of a data set, in processes where that pays."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, TypeVar

import cv2

from uda4inst.errors import UserError

T = TypeVar("T")

_PART: Final = 8  # images a process does before it reports
_FEW: Final = 64  # not worth starting processes for, when nobody says how many

_work: Callable[[int], Any] | None = None  # what a worker process was started for


def in_order(
    work: Callable[[int], T],
    count: int,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[T]:
    """Yield work(0), work(1), ... work(count - 1).

    Args:
        work: picklable when there are workers; sent to each of them once.
        count: how many calls.
        workers: processes; None for one per core, 0 or 1 for none besides this one.
        progress: called with the number of results so far.

    Raises:
        UserError: a worker process was killed.
        Exception: whatever the work raises; what has not begun is then left undone.
    """
    if workers is None:
        workers = 0 if count <= _FEW else _cores()
    results = _in_processes(work, count, workers) if workers > 1 else map(work, range(count))
    for number, result in enumerate(results, start=1):
        yield result
        if progress is not None:
            progress(number)


def _in_processes(work: Callable[[int], T], count: int, workers: int) -> Iterator[T]:
    parts = [range(start, min(start + _PART, count)) for start in range(0, count, _PART)]
    pool = ProcessPoolExecutor(
        min(workers, max(len(parts), 1)),
        mp_context=multiprocessing.get_context("spawn"),  # the app and training have threads
        initializer=_start,
        initargs=(work,),
    )
    try:
        for results in pool.map(_do_part, parts):
            yield from results
    except BrokenProcessPool as error:
        raise UserError(
            "worker processes must live until the work is done, got one that was killed, perhaps "
            "for want of memory. Use fewer workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Return how many cores this process may use."""
    may_use = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(may_use(0)) if may_use else os.cpu_count() or 1


def _start(work: Callable[[int], Any]) -> None:
    """Prepare a worker process."""
    global _work
    _work = work
    cv2.setNumThreads(1)  # one core each: the processes are the parallelism


def _do_part(part: Sequence[int]) -> list[Any]:
    assert _work is not None
    return [_work(number) for number in part]
