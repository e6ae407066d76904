"""Images and labels as a session keeps them, read in processes that never import FiftyOne."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.classes import IGNORE_TRAIN_ID
from uda4inst.data.files.images import require_picture
from uda4inst.data.tree import ImageTree, LabelArrays, ObjectFacts
from uda4inst.structures import Size
from workbench.sessions.cutting import CutMask, cut_ignored, cut_instances

GROUND_TRUTH: Final = "ground_truth"  # field of what an image should have
_QUICK: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1)
# Pixels of an image's masks, a byte each before they are packed: MongoDB's documents end at 16 MiB.
_IN_DATABASE: Final = 12 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class ReadObject:
    """One object of an image.

    Args:
        thing: index of its class.
        mask: its pixels.
        occlusion: hidden share, in [0, 1]; None where it is not known.
        truncation: share outside the picture, in [0, 1]; None where it is not known.
        is_learned: False where training ignores it, by the filters of its configuration.
        mask_file: where the mask lies if it is not to be kept in the database; 255 on the object.
    """

    thing: int
    mask: CutMask
    occlusion: float | None
    truncation: float | None
    is_learned: bool
    mask_file: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """What a session holds of one image.

    Args:
        index: its place in the tree.
        size: (height, width).
        file_bytes: of the picture.
        objects: its instances; None where they are not read, or the format has none.
        ignored: pixels that count neither as object nor as background; None as for objects.
        semantic: file of its semantic map, trainId + 1 and 0 ignored; None where there is none.
    """

    index: int
    size: Size
    file_bytes: int
    objects: tuple[ReadObject, ...] | None = None
    ignored: CutMask | None = None
    semantic: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Reads the images of one side by their number; picklable.

    Args:
        tree: opened with labels or without; those that are there are read.
        chosen: places of the images in the tree.
        folder: where the semantic maps go; it must be there.
    """

    tree: ImageTree
    chosen: tuple[int, ...]
    folder: Path

    def __call__(self, number: int) -> ReadImage:
        """Return the image of a number, its semantic map written."""
        index = self.chosen[number]
        record = self.tree.records[index]
        require_picture(record.image)
        plain = ReadImage(index, self.tree.size_of(index), record.image.stat().st_size)
        if not record.labels:
            return plain
        path = self.folder / f"{index:06d}.png"
        if not self.tree.has_instances:
            semantic = _write_semantic(self.tree.read_semantic(index), path)
            return ReadImage(index, plain.size, plain.file_bytes, semantic=semantic)
        labels, facts = self.tree.read_objects(index)
        return ReadImage(
            index,
            plain.size,
            plain.file_bytes,
            objects=_with_files(_objects(self.tree, labels, facts), path),
            ignored=cut_ignored(labels.ids),
            semantic=_write_semantic(labels.semantic, path),
        )


def _objects(tree: ImageTree, labels: LabelArrays, facts: ObjectFacts) -> tuple[ReadObject, ...]:
    learned = tree.options.objects.keeps(labels.areas(), facts)
    rows = zip(
        labels.labels.tolist(),
        cut_instances(labels.ids, len(labels.labels)),
        facts.occlusion.tolist(),
        facts.truncation.tolist(),
        learned.tolist(),
        strict=True,
    )
    return tuple(
        ReadObject(thing, mask, _known(occlusion), _known(truncation), is_learned)
        for thing, mask, occlusion, truncation, is_learned in rows
        if mask.mask.size
    )


def _with_files(objects: tuple[ReadObject, ...], beside: Path) -> tuple[ReadObject, ...]:
    """Return objects with files named for the largest masks, where all are too much."""
    files = files_of_largest([one.mask for one in objects], beside)
    return tuple(replace(o, mask_file=f) for o, f in zip(objects, files, strict=True))


def files_of_largest(masks: Sequence[CutMask], beside: Path) -> list[Path | None]:
    """Write the largest masks of an image to files where all may be too much for one document.

    Args:
        masks: of all its objects.
        beside: a file of the image, after which the masks' files are named.

    Returns:
        The file of every mask; None where it can be kept in the database.

    Raises:
        UserError: the disk is full or fails.
    """
    files: list[Path | None] = [None] * len(masks)
    total = sum(mask.mask.size for mask in masks)
    for place in sorted(range(len(masks)), key=lambda k: -masks[k].mask.size):
        if total <= _IN_DATABASE:
            break
        path = beside.with_name(f"{beside.stem}_{place:04d}.png")
        write_png(masks[place].mask.astype(np.uint8) * np.uint8(255), path)
        total -= masks[place].mask.size
        files[place] = path
    return files


def _known(share: float) -> float | None:
    return None if math.isnan(share) else share


def _write_semantic(train_ids: UInt8[np.ndarray, "H W"], path: Path) -> Path | None:
    """Write a semantic map as FiftyOne shows it, unless nothing is labelled."""
    if (train_ids == IGNORE_TRAIN_ID).all():
        return None
    write_png(train_ids + np.uint8(1), path)  # 255, ignored, becomes 0
    return path


def write_png(values: UInt8[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"], path: Path) -> None:
    """Write a picture of one channel, or RGB.

    Raises:
        UserError: the disk is full or fails.
    """
    pixels = values if values.ndim == 2 else values[..., ::-1]  # OpenCV's order is BGR
    with disk_errors("a picture", path, then="open the session again"):
        write_whole(path, cv2.imencode(".png", pixels, _QUICK)[1].tobytes())
