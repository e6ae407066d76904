"""Which files lie in a data set's folders; none of them is opened."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from uda4inst.errors import UserError


@dataclass(frozen=True, slots=True)
class _Folder:
    """Names in one folder, sorted."""

    files: tuple[str, ...]
    folders: tuple[str, ...]


class FileIndex:
    """Names of the files below a root. Hidden ones (".name") do not exist for it.

    A folder is listed once in the life of this object.

    Args:
        root: the data set's folder.
        left_out: files that do not exist for it either.
    """

    def __init__(self, root: Path, left_out: Collection[Path] = ()) -> None:
        self.root = root
        self._left_out = frozenset(left_out)
        self._listed: dict[str, _Folder] = {}

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names of the files in a folder given relative to the root, sorted.

        Raises:
            UserError: the folder is missing or cannot be read.
        """
        names = self._folder(folder).files
        if not self._left_out:
            return names
        path = self.root / folder
        return tuple(name for name in names if path / name not in self._left_out)

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders in a folder given relative to the root, sorted.

        Raises:
            UserError: the folder is missing or cannot be read.
        """
        return self._folder(folder).folders

    def leaves_out(self, path: Path) -> bool:
        """Whether a file is treated as if it were not there."""
        return path in self._left_out

    def _folder(self, name: str) -> _Folder:
        if name not in self._listed:
            self._listed[name] = _list(self.root / name)
        return self._listed[name]


def _list(path: Path) -> _Folder:
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if _is_folder(entry) else files).append(entry.name)
    except OSError as error:
        reason = "no such folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(
            f"folder must be readable, got {reason} ({path}). Restore it, or choose another root."
        ) from error
    return _Folder(tuple(sorted(files)), tuple(sorted(folders)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
