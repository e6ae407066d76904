"""Work spread over processes that end with the one that started them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Final, Protocol, TypeVar

import cv2

_WATCH_SECONDS: Final = 0.5  # between a worker's looks at whether its parent lives

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class Run(Protocol):
    """Does jobs here or in processes; may be called again and again."""

    def __call__(self, work: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
        """Yield the result of each job as it finishes, in no order; one failure stops all."""
        ...


@contextlib.contextmanager
def processes(count: int, *, lock: int) -> Iterator[Run]:
    """Give a function that does jobs in `count` processes, or in this one for 0 and 1.

    Args:
        count: processes besides this one.
        lock: file handle that the processes must not keep open.
    """
    if count <= 1:
        yield _here
        return
    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("fork"),  # no imports to repeat, the lock at hand
        initializer=_start_worker,
        initargs=(os.getpid(), lock),
    )

    def run(work: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            yield future.result()

    with pool:
        try:
            yield run
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _here(work: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
    """Do jobs in this process, one after the other."""
    yield from map(work, jobs)


def _start_worker(parent: int, lock: int) -> None:
    """Make a worker end with its parent, however that ends, and leave no lock behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and stops it
    os.close(lock)
    cv2.setNumThreads(0)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
