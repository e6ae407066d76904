"""Parsed files kept in memory: the file on disk stays the truth, looking often costs little."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

from uda4inst.errors import UserError

T = TypeVar("T")
# The largest that is read this way, an evaluation of 5,000 images, has a few MiB.
_LARGEST_BYTES: Final = 64 * 2**20


class FileCache:
    """Parsed files, read again only when they were replaced, or their time or length changed."""

    def __init__(self) -> None:
        self._entries: dict[Path, tuple[tuple[int, ...], object]] = {}
        self._lock = threading.Lock()

    def read(self, path: Path, parse: Callable[[Path], T]) -> T:
        """Return `parse(path)`, from memory when the file has not changed.

        Raises:
            OSError: there is no such file.
            UserError: it is no file, or larger than any that belongs in a run.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_BYTES:
            raise UserError(
                f"{path.name} must be a file of at most {_LARGEST_BYTES >> 20} MiB, got "
                f"{stat.filemode(found.st_mode)[0]!r} of {found.st_size:,} bytes ({path}). "
                "Remove it or put it right."
            )
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        with self._lock:
            entry = self._entries.get(path)
        if entry is not None and entry[0] == stamp:
            return cast(T, entry[1])
        value = parse(path)
        with self._lock:
            self._entries[path] = (stamp, value)
        return value
