"""Which files lie in a data set's folders, remembered between openings.

Listing a tree of 100,000 files over a network file system takes minutes; asking whether its few
folders have changed takes none. A folder's names are taken from the user's cache as long as the
folder's own time of change is the remembered one, and listed anew otherwise. No file is opened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from uda4inst.errors import UserError

_log = logging.getLogger(__name__)

_VERSION: Final = 1
# A folder changed this recently may change again without its time moving; it is not remembered.
_SETTLED_SECONDS: Final = 2.0
_SEPARATOR: Final = "/"  # the one character that no file name holds


def cache_folder() -> Path:
    """Return the user's cache: $UDA4INST_CACHE, or uda4inst in $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("UDA4INST_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uda4inst"


@dataclass(frozen=True, slots=True)
class _Folder:
    """Names in one folder, sorted, and the folder's time of change when they were listed."""

    changed: int
    files: tuple[str, ...]
    folders: tuple[str, ...]


class FileIndex:
    """Names of the files below a root. Hidden ones (".name") do not exist for it.

    Args:
        root: the data set's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        key = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:24]
        self._path = cache_folder() / "index" / f"{key}.json"
        self._known: dict[str, _Folder] = _load(self._path, root)
        self._listed: dict[str, _Folder] = {}
        self._changed = False

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names of the files in a folder given relative to the root, sorted.

        Raises:
            UserError: the folder is missing or cannot be read.
        """
        return self._folder(folder).files

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders in a folder given relative to the root, sorted.

        Raises:
            UserError: the folder is missing or cannot be read.
        """
        return self._folder(folder).folders

    def save(self) -> None:
        """Remember what was listed; a cache that cannot be written is no error."""
        if not self._changed:
            return
        settled = time.time_ns() - int(_SETTLED_SECONDS * 1e9)
        kept = {name: f for name, f in (self._known | self._listed).items() if f.changed < settled}
        try:
            _write(self._path, self.root, kept)
        except OSError as error:
            _log.info("file lists are not remembered: %s", error)
        self._changed = False

    def _folder(self, name: str) -> _Folder:
        """Return a folder's names, listed at most once in the life of this object."""
        if name in self._listed:
            return self._listed[name]
        path = self.root / name
        try:
            changed = path.stat().st_mtime_ns
            known = self._known.get(name)
            if known is None or known.changed != changed:
                known = _list(path, changed)
                self._changed = True
        except OSError as error:
            reason = "no such folder" if isinstance(error, FileNotFoundError) else error.strerror
            raise UserError(
                f"folder must be readable, got {reason} ({path}). Restore it, or choose another "
                "root."
            ) from error
        self._listed[name] = known
        return known


def _list(path: Path, changed: int) -> _Folder:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                (folders if _is_folder(entry) else files).append(entry.name)
    return _Folder(changed, tuple(sorted(files)), tuple(sorted(folders)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _load(path: Path, root: Path) -> dict[str, _Folder]:
    """Return what is remembered of a root; nothing where the cache is missing or damaged."""
    try:
        stored: Any = json.loads(path.read_bytes())
        if stored["version"] != _VERSION or stored["root"] != str(root.absolute()):
            return {}
        return {
            name: _Folder(changed, _split(files), _split(folders))
            for name, (changed, files, folders) in stored["folders"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split(_SEPARATOR)) if names else ()


def _write(path: Path, root: Path, folders: dict[str, _Folder]) -> None:
    """Write the cache in one rename, so that a reader never sees half of it."""
    stored = {
        "version": _VERSION,
        "root": str(root.absolute()),
        "folders": {
            name: [f.changed, _SEPARATOR.join(f.files), _SEPARATOR.join(f.folders)]
            for name, f in folders.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False
    ) as file:
        json.dump(stored, file)  # names that are no UTF-8 are escaped, and come back the same
    Path(file.name).replace(path)
