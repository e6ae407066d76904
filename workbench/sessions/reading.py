"""Images and labels as a session keeps them, read in processes that never import FiftyOne."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.classes import IGNORE_TRAIN_ID
from uda4inst.data.tree import ImageTree, LabelArrays, ObjectFacts
from uda4inst.structures import Size
from workbench.sessions.cutting import CutMask, cut_ignored, cut_instances

_QUICK = (cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclass(frozen=True, slots=True, eq=False)
class ReadObject:
    """One object of an image.

    Args:
        thing: index of its class.
        mask: its pixels.
        occlusion: hidden share, in [0, 1]; None where it is not known.
        truncation: share outside the picture, in [0, 1]; None where it is not known.
        is_learned: False where training ignores it, by the filters of its configuration.
    """

    thing: int
    mask: CutMask
    occlusion: float | None
    truncation: float | None
    is_learned: bool


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
        plain = ReadImage(index, self.tree.size_of(index), record.image.stat().st_size)
        if not record.labels:
            return plain
        path = self.folder / f"{number:06d}.png"
        if not self.tree.has_instances:
            semantic = _write_semantic(self.tree.read_semantic(index), path)
            return ReadImage(index, plain.size, plain.file_bytes, semantic=semantic)
        labels, facts = self.tree.read_objects(index)
        return ReadImage(
            index,
            plain.size,
            plain.file_bytes,
            objects=_objects(self.tree, labels, facts),
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


def _known(share: float) -> float | None:
    return None if math.isnan(share) else share


def _write_semantic(train_ids: UInt8[np.ndarray, "H W"], path: Path) -> Path | None:
    """Write a semantic map as FiftyOne shows it, unless nothing is labelled."""
    if (train_ids == IGNORE_TRAIN_ID).all():
        return None
    stored = train_ids + np.uint8(1)  # 255, ignored, becomes 0
    with disk_errors("a semantic map", path, next_step="Free space, then open the session again."):
        write_whole(path, cv2.imencode(".png", stored, _QUICK)[1].tobytes())
    return path
