"""COCO annotation files: which images they list, and where in the file each annotation stands.

A file of 25,000 images can hold half a gigabyte of outlines. It is read annotation by annotation
and only their places in it are kept, 25 bytes each; an image's own are parsed with the image.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Bool, Int64

from uda4inst.data.readers.coco_scan import MEND, Document, Id, scan, unreadable
from uda4inst.data.records import FileFault, TreeError, shorten
from uda4inst.errors import UserError
from uda4inst.structures import Size


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as the file lists it.

    Args:
        file_name: its path, "/" between folders.
        size: (height, width), None where the file does not say.
    """

    file_name: str
    size: Size | None


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation of a class that is wanted.

    Args:
        name: what messages call it.
        label: its class.
        is_crowd: whether it is a group rather than one object.
        segmentation: polygons, or a run-length code.
    """

    name: str
    label: int
    is_crowd: bool
    segmentation: Any


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationFile:
    """What an annotation file lists; annotations of classes that are not wanted are left out.

    Args:
        path: the file.
        images: in the file's order.
        categories: name -> class, None where it is not wanted.
        starts: first byte of each annotation, image by image.
        ends: the byte after its last.
        labels: class of each annotation.
        is_crowd: whether each is a group.
        first: annotations of image i are `first[i]` to `first[i + 1]`.
        version: size and time of change of the file when it was listed.
    """

    path: Path
    images: tuple[ListedImage, ...]
    categories: dict[str, int | None]
    starts: Int64[np.ndarray, " A"]
    ends: Int64[np.ndarray, " A"]
    labels: Int64[np.ndarray, " A"]
    is_crowd: Bool[np.ndarray, " A"]
    first: Int64[np.ndarray, " I"]
    version: tuple[int, int]

    def annotations_of(self, image: int) -> list[Annotation]:
        """Return the annotations of an image, in the file's order.

        Raises:
            UserError: the file is missing, or has changed since it was listed.
        """
        found: list[Annotation] = []
        if _version(self.path) != self.version:
            raise UserError(
                "annotation file must stay as it was when it was opened, got a changed one "
                f"({self.path}). Start again."
            )
        with self.path.open("rb") as file:
            for number in range(self.first[image], self.first[image + 1]):
                file.seek(self.starts[number])
                entry = json.loads(file.read(self.ends[number] - self.starts[number]))
                found.append(
                    Annotation(
                        name=f"annotation {entry.get('id', '')}".strip(),
                        label=int(self.labels[number]),
                        is_crowd=bool(self.is_crowd[number]),
                        segmentation=entry["segmentation"],
                    )
                )
        return found


def read_images(path: Path) -> tuple[ListedImage, ...]:
    """Return the images a file lists; its annotations are passed over.

    Raises:
        UserError: the file is missing, no JSON, or lists no images or malformed ones.
    """
    return tuple(_images(scan(path, with_annotations=False)).values())


def read_annotation_file(path: Path, *, label_of: Callable[[str], int | None]) -> AnnotationFile:
    """Return what a file lists, having looked at every annotation.

    Args:
        path: the file.
        label_of: class of a category's name, None where it is not wanted.

    Raises:
        UserError: the file is missing, no JSON, or not of COCO's layout; all malformed entries are
            counted, five shown.
    """
    version = _version(path)
    document = scan(path, with_annotations=True)
    images, names = _images(document), _categories(document)
    rows = document.rows
    if rows is None:
        raise UserError(f"annotation file must hold the list 'annotations' ({path}). {MEND}")
    categories = {key: label_of(name) for key, name in names.items()}
    strangers = _strangers("image_id", rows.image_ids, images)
    strangers += _strangers("category_id", rows.category_ids, categories)
    wanted = np.array([categories.get(key) is not None for key in rows.category_ids], dtype=bool)
    _refuse(path, strangers + [what for row, what in rows.problems if wanted[row]])
    image_of_id = {key: place for place, key in enumerate(images)}
    image = np.array([image_of_id[key] for key in rows.image_ids], dtype=np.int64)
    labels = np.array([categories[key] or 0 for key in rows.category_ids], dtype=np.int64)
    order = np.argsort(image, kind="stable")
    order = order[wanted[order]]
    bounds = np.array(rows.bounds, dtype=np.int64).reshape(-1, 2)[order]
    return AnnotationFile(
        path=path,
        images=tuple(images.values()),
        categories={name: categories[key] for key, name in names.items()},
        starts=bounds[:, 0],
        ends=bounds[:, 1],
        labels=labels[order],
        is_crowd=np.array(rows.is_crowd, dtype=bool)[order],
        first=np.searchsorted(image[order], np.arange(len(images) + 1)),
        version=version,
    )


def _images(document: Document) -> dict[Id, ListedImage]:
    """Return the listed images by their ids."""
    images: dict[Id, ListedImage] = {}
    names: set[str] = set()
    problems: list[str] = []
    for entry in _entries(document, "images"):
        key, name = entry.get("id"), entry.get("file_name")
        if not _is_id(key) or not isinstance(name, str) or not name:
            problems.append(f"image must have id and file_name, got id {key!r}, {name!r}")
            continue
        name = name.replace("\\", "/")  # written on Windows
        is_text = name.encode(errors="replace").decode() == name and "\0" not in name
        if name.startswith("/") or ".." in name.split("/") or not is_text:
            problems.append(f"file_name must lead down from the root, got {name!r}")
        elif key in images or name in names:
            problems.append(f"image must be listed once, got id {key!r}, {name!r} again")
        height, width = entry.get("height"), entry.get("width")
        size = (height, width) if _is_side(height) and _is_side(width) else None
        if size is None and (height, width) != (None, None):
            problems.append(f"height and width must be positive, got {height}, {width} ({name})")
        images[key] = ListedImage(name, size)
        names.add(name)
    _refuse(document.path, problems)
    if not images:
        raise UserError(f"annotation file must list images, got none ({document.path}). {MEND}")
    return images


def _categories(document: Document) -> dict[Id, str]:
    """Return the names of categories by their ids."""
    categories: dict[Id, str] = {}
    problems: list[str] = []
    for entry in _entries(document, "categories"):
        key, name = entry.get("id"), entry.get("name")
        if not _is_id(key) or not isinstance(name, str):
            problems.append(f"category must have id and name, got id {key!r}, {name!r}")
            continue
        if categories.setdefault(key, name) != name:
            problems.append(f"category id must be given once, got {key!r} for {name!r} again")
    _refuse(document.path, problems)
    return categories


def _entries(document: Document, key: str) -> list[dict[str, Any]]:
    """Return a member that is a list of objects."""
    entries = document.lists.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(
            f"annotation file must hold the list '{key}' of objects ({document.path}). {MEND}"
        )
    return entries


def _is_id(value: object) -> TypeGuard[Id]:
    return isinstance(value, Id) and not isinstance(value, bool)


def _is_side(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _strangers(key: str, ids: list[Id], known: Collection[Id]) -> list[str]:
    """Return one line for each id that is not listed."""
    return [
        f"{key} must be listed, got {value!r} in {count} annotations"
        for value, count in Counter(ids).items()
        if value not in known
    ]


def _refuse(path: Path, problems: list[str]) -> None:
    """Raise once for all problems, if there are any."""
    if not problems:
        return
    raise TreeError(
        f"annotation file must be well-formed, got {len(problems)} faults ({path}):\n"
        f"" + shorten(problems, separator="\n") + f"\n{MEND}",
        [FileFault("malformed", path, problem) for problem in problems],
    )


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(error, path) from error
    return status.st_size, status.st_mtime_ns
