"""Parsed files kept in memory: the file on disk stays the truth, looking often costs little."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

T = TypeVar("T")


class FileCache:
    """Parsed files, read again only when their time or length changed."""

    def __init__(self) -> None:
        self._entries: dict[Path, tuple[tuple[int, int], object]] = {}
        self._lock = threading.Lock()

    def read(self, path: Path, parse: Callable[[Path], T]) -> T:
        """Return `parse(path)`, from memory when the file has not changed."""
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        with self._lock:
            entry = self._entries.get(path)
        if entry is not None and entry[0] == stamp:
            return cast(T, entry[1])
        value = parse(path)
        with self._lock:
            self._entries[path] = (stamp, value)
        return value
