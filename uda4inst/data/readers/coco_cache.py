"""Annotation files remembered between openings: what they list, and where, not what they say.

Looking through a large file takes seconds; the places found in it load in a fraction of one. A file
counts as the remembered one while its size and its times of change are the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from uda4inst.data.files.listing import cache_folder
from uda4inst.data.readers.coco_file import AnnotationFile, ListedImage, read_annotation_file

_log = logging.getLogger(__name__)

_VERSION: Final = 1
_ARRAYS: Final = ("starts", "ends", "labels", "is_crowd", "first")
# A file changed this recently may change again without its time moving; it is not remembered.
_SETTLED_SECONDS: Final = 2.0


def open_annotation_file(path: Path, *, label_of: Callable[[str], int | None]) -> AnnotationFile:
    """Return what a file lists, from the user's cache where it holds that file.

    Args:
        path: the file.
        label_of: class of a category's name, None where it is not wanted.

    Raises:
        UserError: as `read_annotation_file`.
    """
    key = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:24]
    cache = cache_folder() / "coco" / f"{key}.npz"
    if known := _load(cache, path, label_of):
        return known
    stamp = _stamp(path)
    file = read_annotation_file(path, label_of=label_of)
    if stamp and max(stamp[1:]) < time.time_ns() - int(_SETTLED_SECONDS * 1e9):
        try:
            _save(cache, file, stamp)
        except OSError as error:
            _log.info("annotation places are not remembered: %s", error)
    return file


def _stamp(path: Path) -> list[int]:
    """Return size and times of change of a file; nothing where it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return []
    # Unpacking sets the first time back to the archive's; the second cannot be set.
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _load(cache: Path, path: Path, label_of: Callable[[str], int | None]) -> AnnotationFile | None:
    """Return what is remembered of a file; None where that is nothing, damaged or outdated."""
    try:
        # Opened here: NumPy leaves a damaged archive open.
        with cache.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            about: dict[str, Any] = json.loads(stored["about"].tobytes())
            arrays = {name: stored[name] for name in _ARRAYS}
        categories: dict[str, int | None] = about["categories"]
        if (
            about["version"] != _VERSION
            or about["path"] != str(path.absolute())
            or about["stamp"] != _stamp(path)
            or categories != {name: label_of(name) for name in categories}
        ):
            return None
        images = tuple(
            ListedImage(name, None if size is None else (size[0], size[1]))
            for name, size in zip(about["names"], about["sizes"], strict=True)
        )
        version = (about["stamp"][0], about["stamp"][1])
        return AnnotationFile(path, images, categories, version=version, **arrays)
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        zipfile.BadZipFile,
    ):
        return None


def _save(cache: Path, file: AnnotationFile, stamp: list[int]) -> None:
    """Write the cache in one rename, so that a reader never sees half of it."""
    about = {
        "version": _VERSION,
        "path": str(file.path.absolute()),
        "stamp": stamp,
        "categories": file.categories,
        "names": [image.file_name for image in file.images],
        "sizes": [image.size for image in file.images],
    }
    text: UInt8[np.ndarray, " B"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "wb", dir=cache.parent, prefix=cache.stem, suffix=".tmp", delete=False
    ) as written:
        try:
            np.savez(written, about=text, **{name: getattr(file, name) for name in _ARRAYS})
            written.close()
            Path(written.name).replace(cache)
        except OSError:  # such as a full disk
            Path(written.name).unlink(missing_ok=True)
            raise
