"""Writing a labelled data set in other formats: COCO's JSON, and trees named like Cityscapes'.

Decisions where the formats leave room:

- Ignored pixels (id -1) become groups. A connected area of one thing class is one group: in COCO an
  annotation with `iscrowd` 1, in Cityscapes the plain label id. Where the semantic map names no
  thing, any class could be there: in COCO the area is a crowd of each class the data set can hold,
  in Cityscapes it is the plain id of caravan, which evaluation leaves out.
- Pixels that are known to be none of the classes, and of which no more is known, become a caravan
  with a number in a Cityscapes tree: no class, and no place to look away from.
- COCO's format carries no semantic map; a Cityscapes tree carries it as `labelIds`.
- Pictures are linked to the originals where the file system can, copied where it cannot; into a
  Cityscapes tree, which is PNG throughout, JPEGs are converted.
- Everything is written beside its place and renamed at the end: it is there whole or not at all.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Bool, Int32

from uda4inst.atomic import new_folder
from uda4inst.classes import (
    BACKGROUND_LABEL_ID,
    NUM_THINGS,
    THING_CLASSES,
    TRAIN_ID_TO_LABEL,
)
from uda4inst.data.files.png import SIGNATURE
from uda4inst.data.parallel import in_order
from uda4inst.data.readers import format_name
from uda4inst.data.records import LabelArrays, check_same_size
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.formats.coco import CocoImage, annotation, write_instances
from uda4inst.reading import open_regular
from uda4inst.structures import IGNORE_ID

_FRAME: Final = 19  # the labelled frame of Cityscapes' snippets of 30
_CARAVAN: Final = 29  # label id; without a number it is ignored
_NOTHING: Final = 29_000  # with one it is neither a class nor ignored
_FIRST_THING: Final = THING_CLASSES[0].train_id


def export_coco(
    dataset: ImageTree,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `images` and `annotations/instances_SPLIT.json` below `out`; return `out`.

    All ids start at 1; `file_name` is relative to `images`; masks are compressed run-length codes
    of the exact pixels.

    Args:
        dataset: opened with labels.
        out: folder to make; must not be there.
        workers: processes; None for one per core, 0 or 1 for none besides this one.
        progress: called with (images done, images in all).

    Raises:
        UserError: `out` is there, the data set has no instances, or a file cannot be read.
    """
    if not dataset.has_instances:
        raise UserError(
            f"data set must have instances to become COCO's, got {dataset.name}, which has none "
            f"({dataset.root}). Export it as cityscapes."
        )
    with made_whole(out) as partial:
        images = _all_images(_CocoExport(dataset, partial), len(dataset), workers, progress)
        write_instances(
            partial / "annotations" / f"instances_{dataset.split.replace('/', '_')}.json",
            images,
            description=f"{dataset.name} {dataset.split}, ignored areas as crowds",
            things=dataset.thing_classes,
        )
    return out


def export_cityscapes(
    dataset: ImageTree,
    out: Path,
    *,
    split: str,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `leftImg8bit`, `gtFine` and `names.csv` below `out`; return `out`.

    The city is the name of the data set's format, the sequence the image's place in it; `names.csv`
    says which is which.

    Args:
        dataset: opened with labels.
        out: folder to make; must not be there.
        split: name of the split's folder.
        workers: processes; None for one per core, 0 or 1 for none besides this one.
        progress: called with (images done, images in all).

    Raises:
        UserError: `out` is there, the split is no folder's name, there are classes beside the
            eight, or a file cannot be read.
    """
    if own := dataset.thing_classes.own:
        raise UserError(
            "data set must have the eight classes alone to become Cityscapes', got "
            f"{', '.join(own)} beside them, for which the format has no number ({dataset.root}). "
            "Export it as coco, or without a class map."
        )
    if not split or split.startswith(".") or "/" in split:
        raise UserError(f"split must be a folder's name, got {split!r}. Use train, val or test.")
    city = format_name(dataset)
    with made_whole(out) as partial:
        for kind in ("leftImg8bit", "gtFine"):
            (partial / kind / split / city).mkdir(parents=True)
        work = _CityscapesImage(dataset, partial, split, city)
        names = list(_all_images(work, len(dataset), workers, progress))
        with (partial / "names.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("sample_id", "cityscapes_name"))
            writer.writerows(names)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _CocoExport:
    """Places one picture, and returns it with its annotations."""

    dataset: ImageTree
    out: Path

    def __call__(self, index: int) -> CocoImage:
        record = self.dataset.records[index]
        labels = self.dataset.read_labels(index)
        size = self.dataset.size_of(index)
        check_same_size(record, size, labels.ids.shape)
        file_name = f"{record.sample_id}{record.image.suffix.lower()}"
        place_file(record.image, self.out / "images" / file_name)
        return CocoImage(file_name, size, list(_annotations(labels, self.dataset.possible_things)))


@dataclass(frozen=True, slots=True, eq=False)
class _CityscapesImage:
    """Writes picture and maps of one image, and returns its own name and the new one."""

    dataset: ImageTree
    out: Path
    split: str
    city: str

    def __call__(self, index: int) -> tuple[str, str]:
        record = self.dataset.records[index]
        labels = self.dataset.read_labels(index)
        check_same_size(record, self.dataset.size_of(index), labels.ids.shape)
        name = f"{self.city}_{index:06d}_{_FRAME:06d}"
        picture = self.out / "leftImg8bit" / self.split / self.city / f"{name}_leftImg8bit.png"
        if _is_png(record.image):
            place_file(record.image, picture)
        else:
            pixels = self.dataset.read_image(index)
            _write_png(picture, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)))
        truth = self.out / "gtFine" / self.split / self.city
        raw = self.dataset.read_instance_ids(index)
        raw[raw == BACKGROUND_LABEL_ID] = _NOTHING
        raw[(labels.ids == IGNORE_ID) & ~_is_thing(labels)] = _CARAVAN
        _write_png(truth / f"{name}_gtFine_instanceIds.png", raw.astype(np.uint16))
        _write_png(truth / f"{name}_gtFine_labelIds.png", TRAIN_ID_TO_LABEL[labels.semantic])
        return record.sample_id, name


def _annotations(labels: LabelArrays, things: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Yield the annotations of an image: its instances in their order, then its ignored areas."""
    along_columns = np.ascontiguousarray(labels.ids.T)  # as run-length codes go
    for number, thing in enumerate(labels.labels.tolist(), start=1):
        mask = (along_columns == number).T
        if mask.any():
            yield annotation(mask, thing, is_crowd=False)
    ignored = labels.ids == IGNORE_ID
    if not ignored.any():
        return
    is_thing = _is_thing(labels)
    for thing in range(NUM_THINGS):
        for area in _connected(ignored & (labels.semantic == _FIRST_THING + thing)):
            yield annotation(area, thing, is_crowd=True)
    for area in _connected(ignored & ~is_thing):
        for thing in things:
            yield annotation(area, thing, is_crowd=True)


def _is_thing(labels: LabelArrays) -> Bool[np.ndarray, "H W"]:
    """Return where the semantic map names a thing."""
    return (labels.semantic >= _FIRST_THING) & (labels.semantic < _FIRST_THING + NUM_THINGS)


def _connected(mask: Bool[np.ndarray, "H W"]) -> Iterator[Bool[np.ndarray, "H W"]]:
    """Yield the areas of a mask that touch nowhere, not even at corners."""
    if not mask.any():
        return
    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    areas: Int32[np.ndarray, "H W"] = np.asarray(numbers)
    for number in range(1, count):
        yield areas == number


def _all_images(
    work: Callable[[int], Any],
    count: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Any]:
    def show(done: int) -> None:
        if progress is not None:
            progress(done, count)

    return in_order(work, count, workers=workers, progress=show)


@contextmanager
def made_whole(out: Path) -> Iterator[Path]:
    """Give a folder that becomes `out` when the block ends well, and is removed otherwise.

    Raises:
        UserError: `out` is there, or cannot be made.
    """
    if os.path.lexists(out):
        raise UserError(
            f"OUT must not be there, got an existing {'folder' if out.is_dir() else 'file'} "
            f"({out}). Choose another name, or remove it."
        )
    try:
        with new_folder(out) as partial:
            yield partial
    except OSError as error:  # such as a full disk
        raise UserError(f"OUT must be a folder that can be made, got {error} ({out}).") from error


def place_file(source: Path, target: Path) -> None:
    """Link a file, or copy it to another file system or one without links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _is_png(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def _write_png(path: Path, values: np.ndarray) -> None:
    done, data = cv2.imencode(".png", values)
    assert done
    path.write_bytes(data.tobytes())
