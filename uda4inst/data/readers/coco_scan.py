"""Taking a COCO annotation file apart, one annotation in memory at a time.

Two readers see the same in a file. The quick one takes what is JSON to the letter and of COCO's
layout. What it refuses goes to the thorough one, three times slower, which also knows the NaN that
Python writes, and words what is wrong with a file.
"""

from __future__ import annotations

import codecs
import json
import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from jaxtyping import Int64

from uda4inst.data.readers.json_walk import JsonWalk
from uda4inst.errors import UserError

Id = int | str
MEND: Final = "Mend the file, or export it again."
_MIN_NUMBERS: Final = 6  # a polygon has at least three points
_COMMA: Final = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*")
# What the quick reader raises: no JSON or of another layout, nested too deep, not UTF-8.
_REFUSALS: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


@dataclass(slots=True)
class Rows:
    """The annotations as they are met, before it is known which images and categories there are.

    Args:
        image_ids: of every annotation.
        category_ids: of every annotation.
        is_crowd: of every annotation.
        bounds: start and end of every annotation, in bytes of the file.
        problems: number of an annotation, and what is wrong with it.
    """

    image_ids: list[Id] = field(default_factory=list)
    category_ids: list[Id] = field(default_factory=list)
    is_crowd: list[bool] = field(default_factory=list)
    bounds: array[int] = field(default_factory=lambda: array("q"))
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, entry: object) -> None:
        """Add an annotation, but for its bounds.

        Raises:
            ValueError: it does not say to what it belongs.
        """
        if not isinstance(entry, dict):
            raise ValueError(f"annotation must be an object, got {type(entry).__name__}")
        name = f"annotation {entry.get('id', 'without id')}"
        for key, ids in (("image_id", self.image_ids), ("category_id", self.category_ids)):
            value = entry.get(key)
            if isinstance(value, bool) or not isinstance(value, Id):
                raise ValueError(f"{name} must have {key}, a number or text, got {value!r}")
            ids.append(value)
        if fault := _fault_of_segmentation(entry.get("segmentation")):
            self.problems.append((len(self.is_crowd), f"{name}: {fault}"))
        self.is_crowd.append(bool(entry.get("iscrowd", 0)))

    def add_usual(self, entry: UsualAnnotation) -> None:
        """Add an annotation in whose form there is no fault, but for its bounds."""
        self.image_ids.append(entry.image_id)
        self.category_ids.append(entry.category_id)
        self.is_crowd.append(bool(entry.iscrowd))


@dataclass(slots=True)
class Document:
    """A file taken apart.

    Args:
        path: the file.
        lists: its members but the annotations.
        rows: its annotations, None if it has no such list or they were passed over.
    """

    path: Path
    lists: dict[str, Any]
    rows: Rows | None = None


class _RunLengthCode(msgspec.Struct, gc=False):
    size: msgspec.Raw
    counts: str | list[Any]


class UsualAnnotation(msgspec.Struct, gc=False):
    """An annotation as nearly all are."""

    image_id: Id
    category_id: Id
    segmentation: (
        Annotated[
            list[Annotated[list[float], msgspec.Meta(min_length=_MIN_NUMBERS)]],
            msgspec.Meta(min_length=1),
        ]
        | _RunLengthCode
    )
    iscrowd: Any = 0


class _Lists(msgspec.Struct):
    """The members that a file must have beside its annotations."""

    images: msgspec.Raw
    categories: msgspec.Raw


class _ListsAndAnnotations(_Lists):
    annotations: list[msgspec.Raw]


_decode_usual: Final = msgspec.json.Decoder(UsualAnnotation).decode


def scan(path: Path, *, with_annotations: bool) -> Document:
    """Take a file apart.

    Args:
        path: the file.
        with_annotations: False passes them over.

    Raises:
        UserError: it is missing, no JSON, or an annotation does not say to what it belongs.
    """
    try:
        data = path.read_bytes()
        first = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
        data = data[first:]
        try:
            lists, rows = _scan_quickly(data, with_annotations=with_annotations)
        except _REFUSALS:
            lists, rows = _scan_thoroughly(data.decode(), with_annotations=with_annotations)
    except OSError as error:
        raise unreadable(error, path) from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"annotation file must be whole JSON, got {error} ({path}). {MEND}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"annotation file must be well-formed, got {error} ({path}). {MEND}"
        ) from error
    if rows and first:
        rows.bounds = array("q", (place + first for place in rows.bounds))
    return Document(path, lists, rows)


def unreadable(error: OSError, path: Path) -> UserError:
    """Return the error that says why a file cannot be read."""
    reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
    return UserError(f"annotation file must be readable, got {reason} ({path}). {MEND}")


def _scan_quickly(data: bytes, *, with_annotations: bool) -> tuple[dict[str, Any], Rows | None]:
    """Return lists and annotations of a file of the usual form; raise one of `_REFUSALS` else."""
    if not data.isascii():
        data.decode()  # text that is passed over is not looked at below
    parts = msgspec.json.decode(data, type=_ListsAndAnnotations if with_annotations else _Lists)
    lists: dict[str, Any] = {
        "images": msgspec.json.decode(parts.images),
        "categories": msgspec.json.decode(parts.categories),
    }
    if not isinstance(parts, _ListsAndAnnotations):
        return lists, None
    rows = Rows(bounds=_bounds(data, parts.annotations))
    for number, raw in enumerate(parts.annotations):
        try:
            usual = _decode_usual(raw)
        except _REFUSALS:
            usual = None
        if usual and _has_pairs(usual.segmentation):
            rows.add_usual(usual)
        else:
            rows.add(json.loads(data[rows.bounds[2 * number] : rows.bounds[2 * number + 1]]))
    return lists, rows


def _has_pairs(segmentation: list[list[float]] | _RunLengthCode) -> bool:
    """Whether all polygons have a second coordinate for every first."""
    if isinstance(segmentation, list):
        for part in segmentation:  # a loop: `all` takes three times as long
            if len(part) % 2:
                return False
    return True


def _bounds(data: bytes, items: list[msgspec.Raw]) -> array[int]:
    """Return start and end of successive items of one list in the bytes they are views of."""
    bounds = array("q")
    end = _address(items[0]) - _address(data) if items else 0
    for item in items:
        between = _COMMA.match(data, end) if bounds else None
        start = between.end() if between else end
        end = start + len(memoryview(item))
        bounds.extend((start, end))
    return bounds


def _address(data: bytes | msgspec.Raw) -> int:
    return np.frombuffer(data, np.uint8).ctypes.data


def _scan_thoroughly(text: str, *, with_annotations: bool) -> tuple[dict[str, Any], Rows | None]:
    """Return lists and annotations of any file that Python's own JSON reader takes.

    Raises:
        ValueError: it is no JSON, or an annotation does not say to what it belongs.
    """
    lists: dict[str, Any] = {}
    rows = None
    places = array("q")
    walk = JsonWalk(text)
    for key in walk.members():
        if key != "annotations":
            lists[key] = walk.value()
            continue
        rows, places = Rows(), array("q")
        for start in walk.items():
            entry = walk.value()
            if with_annotations:
                rows.add(entry)
                places.extend((start, walk.at))
    if rows:
        rows.bounds.extend(_in_bytes(text, places).tolist())
    return lists, rows if with_annotations else None


def _in_bytes(text: str, places: array[int]) -> Int64[np.ndarray, " P"]:
    """Return ascending places in a text as places in its bytes."""
    if text.isascii():
        return np.array(places, dtype=np.int64)
    found = np.zeros(len(places), dtype=np.int64)
    total = last = 0
    for number, place in enumerate(places):
        total += len(text[last:place].encode())
        found[number], last = total, place
    return found


def _fault_of_segmentation(segmentation: object) -> str | None:
    """Return what is wrong with the form of a mask; its numbers are looked at when it is drawn."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation.get("counts"), str | list) and "size" in segmentation:
            return None
        return "run-length code must have size and counts"
    if not isinstance(segmentation, list) or not segmentation:
        got = "none" if not segmentation else type(segmentation).__name__
        return f"segmentation must be polygons or a run-length code, got {got}"
    for part in segmentation:
        if not isinstance(part, list):
            return f"polygon must be a list of numbers, got {type(part).__name__}"
        if len(part) < _MIN_NUMBERS or len(part) % 2:
            return f"polygon must have pairs of numbers, at least three, got {len(part)} numbers"
    return None
