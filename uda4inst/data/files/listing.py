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
from collections.abc import Collection
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
    """Return the user's cache: $UDA4INST_CACHE, or uda4inst in $XDG_CACHE_HOME or ~/.cache.

    Without a home it is a folder of the user's in the system's place for temporary files.
    """
    if own := os.environ.get("UDA4INST_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "uda4inst"
    try:
        return Path.home() / ".cache" / "uda4inst"
    except RuntimeError:  # a container may run as a user who has no home
        return Path(tempfile.gettempdir()) / f"uda4inst-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class _Folder:
    """Names in one folder, sorted.

    Args:
        changed: the folder's time of change when they were listed.
        files: names of files.
        folders: names of folders.
        is_settled: whether the folder had been left alone for a while when it was listed.
    """

    changed: int
    files: tuple[str, ...]
    folders: tuple[str, ...]
    is_settled: bool = True


class FileIndex:
    """Names of the files below a root. Hidden ones (".name") do not exist for it.

    Args:
        root: the data set's folder.
        left_out: files that do not exist for it either.
    """

    def __init__(self, root: Path, left_out: Collection[Path] = ()) -> None:
        self.root = root
        self._left_out = frozenset(left_out)
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

    def save(self) -> None:
        """Remember what was listed; a cache that cannot be written is no error."""
        if not self._changed:
            return
        kept = {name: f for name, f in (self._known | self._listed).items() if f.is_settled}
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
            status = path.stat()
            # Unpacking sets the first back to the archive's time; the second cannot be set.
            changed = max(status.st_mtime_ns, status.st_ctime_ns)
            known = self._known.get(name)
            if known is None or known.changed != changed:
                self._changed = True
                known = _list(path, changed)
        except OSError as error:
            self._known.pop(name, None)
            reason = "no such folder" if isinstance(error, FileNotFoundError) else error.strerror
            raise UserError(
                f"folder must be readable, got {reason} ({path}). Restore it, or choose another "
                "root."
            ) from error
        self._listed[name] = known
        return known


def _list(path: Path, changed: int) -> _Folder:
    """List a folder that was changed at `changed` for the last time."""
    # Told by the time before the listing: what is added while it runs may not move `changed`.
    is_settled = changed < time.time_ns() - int(_SETTLED_SECONDS * 1e9)
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                (folders if _is_folder(entry) else files).append(entry.name)
    return _Folder(changed, tuple(sorted(files)), tuple(sorted(folders)), is_settled)


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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
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
        written = Path(file.name)
        try:
            json.dump(stored, file)  # names that are no UTF-8 are escaped, and come back the same
            file.close()
            written.replace(path)
        except OSError:  # such as a full disk
            written.unlink(missing_ok=True)
            raise
