"""How frequent each class is in a data set: counted in the background, counted once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from uda4inst.data.config import DatasetRef
from uda4inst.data.reports.statistics import DatasetStatistics, collect_statistics
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError

logger = logging.getLogger(__name__)

# Enough for the shares of all but the rarest classes, in seconds on a laptop.
IMAGE_LIMIT: Final = 200
# What failed is tried again when somebody looks this much later.
_RETRY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Shares:
    """How far the counting is.

    Args:
        state: counting, done or failed.
        done: images looked at.
        total: images to look at; 0 before it is known.
        statistics: what was found, once done.
        error: why it failed.
    """

    state: Literal["counting", "done", "failed"] = "counting"
    done: int = 0
    total: int = 0
    statistics: DatasetStatistics | None = None
    error: str = ""


class ClassShares:
    """Counts classes, one data set at a time, in a thread that ends with the app.

    Args:
        collect: counts; replaced in tests.
        limit: images looked at.
    """

    def __init__(
        self,
        *,
        collect: Callable[..., DatasetStatistics] = collect_statistics,
        limit: int = IMAGE_LIMIT,
    ) -> None:
        self._collect = collect
        self.limit = limit
        self._known: dict[DatasetRef, Shares] = {}
        self._failed_at: dict[DatasetRef, float] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def look(self, ref: DatasetRef) -> Shares | None:
        """Return how far the counting of a data set is; None before it was asked for."""
        with self._lock:
            return self._known.get(ref)

    def ask(self, ref: DatasetRef, open_tree: Callable[[], ImageTree]) -> Shares:
        """Return how far the counting is, begun if nobody has.

        Args:
            ref: which data set.
            open_tree: opens it with labels, called in the background.
        """
        with self._lock:
            known = self._known.get(ref)
            late = time.monotonic() - self._failed_at.get(ref, 0.0) > _RETRY_SECONDS
            if known is not None and not (known.state == "failed" and late):
                return known
            begun = self._known[ref] = Shares()
        threading.Thread(
            target=self._count, args=(ref, open_tree), name="class shares", daemon=True
        ).start()
        return begun

    def _count(self, ref: DatasetRef, open_tree: Callable[[], ImageTree]) -> None:
        with self._turn:
            try:
                found = self._collect(
                    open_tree(),
                    workers=0,
                    progress=lambda done, total: self._note(ref, done=done, total=total),
                    limit=self.limit,
                )
                self._note(ref, state="done", statistics=found)
            except UserError as error:
                self._fail(ref, str(error))
            except Exception as error:  # a thread has nobody above it to tell
                logger.exception("counting classes failed")
                self._fail(ref, f"{type(error).__name__}: {error}")

    def _fail(self, ref: DatasetRef, message: str) -> None:
        self._failed_at[ref] = time.monotonic()
        self._note(ref, state="failed", error=message)

    def _note(self, ref: DatasetRef, **changes: object) -> None:
        with self._lock:
            self._known[ref] = replace(self._known[ref], **changes)  # pyright: ignore[reportArgumentType]
