"""BDD100K trees of the instance segmentation: the 10k images and their bitmasks, byte for byte.

A bitmask's four channels are data, alpha included: red is the class (1 pedestrian .. 8 bicycle),
green the flags truncated, occluded, crowd and ignore, blue * 256 + alpha the object's number.

Decisions where the format leaves room:

- An object is a class and a number. Pixels flagged crowd or ignore, and those of a class without a
  number, become ignore, id -1.
- The semantic map is `labels/sem_seg/masks` where an image has one; else the bitmask's own classes
  and 255 everywhere else, which evaluation takes for background, as it is none of the things.
  Pixels that the map calls a thing but no object owns become ignore.
- The flags occluded and truncated are the share 1, their absence 0: no more is told.
- A bitmask that is opaque everywhere has lost its alpha channel in a copy and is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Int32, Int64, UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, NUM_THINGS
from uda4inst.data.files.images import is_image_name
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.files.png import read_map
from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.data.records import (
    FileFault,
    ImageRecord,
    LabelArrays,
    TreeError,
    match_files,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts
from uda4inst.errors import UserError
from uda4inst.structures import IGNORE_ID

_log = logging.getLogger(__name__)

_IMAGES: Final = "images/10k"
_BITMASKS: Final = "labels/ins_seg/bitmasks"
_MASKS: Final = "labels/sem_seg/masks"
_IGNORE, _CROWD, _OCCLUDED, _TRUNCATED = 1, 2, 4, 8  # bits of the green channel
_ALL_FLAGS: Final = 15
_FIRST_THING: Final = 11  # trainId of person; things are 11..18
_GET: Final = (
    "Download '10K Images' and 'Instance Segmentation' of BDD100K there, so that it holds "
    f"{_IMAGES} and {_BITMASKS}."
)


class BDD100K(ImageTree):
    """One split of a BDD100K tree; the root holds `images` and `labels`.

    The split is a folder of `images/10k`: train, val, or test, which has no labels. Opened without
    labels, `labels` is never looked at.
    """

    name = "BDD100K"
    usual_domain = "target"

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        folder = f"{_IMAGES}/{self.split}"
        _check_split(index, self.split)
        images = _files_by_stem(index, folder)
        if not images:
            raise UserError(f"split must hold JPEGs, got none ({self.root / folder}). {_GET}")
        if not require_labels:
            for stem in sorted(images):
                yield ImageRecord(stem, images[stem], (), self.domain)
            return
        bitmasks, masks = self._label_files(index, images)
        for stem in sorted(images):
            semantic = (masks[stem],) if stem in masks else ()
            yield ImageRecord(stem, images[stem], (bitmasks[stem], *semantic), self.domain)

    def _label_files(
        self, index: FileIndex, images: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return bitmasks, one for each image, and those semantic masks that are there."""
        folder = f"{_BITMASKS}/{self.split}"
        rule = f"split {self.split!r} must have bitmasks"
        require_folder(index.root / folder, rule=rule, remedy=_GET)
        bitmasks = _files_by_stem(index, folder)
        match_files(
            images,
            {"bitmask": bitmasks},
            where=index.root / folder,
            remedy="Restore the missing files from BDD100K, or remove what is left over.",
        )
        folder = f"{_MASKS}/{self.split}"
        masks = _files_by_stem(index, folder) if (index.root / folder).is_dir() else {}
        if without := len(images.keys() - masks.keys()):
            _log.info(
                "%d of %d images have no semantic mask (%s): their bitmasks stand in for it",
                without,
                len(images),
                index.root / folder,
            )
        return bitmasks, masks

    def _labels_things_alone(self, record: ImageRecord) -> bool:
        return len(record.labels) == 1  # without a semantic mask

    def unused_files(self) -> list[Path]:
        """Return the semantic masks that belong to no image."""
        folder = f"{_MASKS}/{self.split}"
        if not (self.root / folder).is_dir():
            return []
        masks = _files_by_stem(FileIndex(self.root), folder)
        known = {record.sample_id for record in self.records}
        return [Path(masks[stem]) for stem in sorted(masks.keys() - known)]

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return instances in order of class and number, and what their flags say."""
        bitmask_path, *mask_path = record.labels
        objects = _read_bitmask(bitmask_path)
        ids = objects.runs.paint(objects.ids)
        if mask_path:
            semantic = _read_mask(mask_path[0], objects.runs.size)
            unowned = (semantic >= _FIRST_THING) & (semantic != IGNORE_TRAIN_ID)
            ids[(ids == 0) & unowned] = IGNORE_ID
        else:
            semantic = objects.runs.paint(objects.train_ids)
        labels = LabelArrays(ids=ids, labels=objects.labels, semantic=semantic)
        if not want_facts:
            return labels, None
        occluded, truncated = (objects.flags & bit > 0 for bit in (_OCCLUDED, _TRUNCATED))
        return labels, ObjectFacts(occluded.astype(np.float32), truncated.astype(np.float32))

    def _read_semantic(self, record: ImageRecord) -> UInt8[np.ndarray, "H W"]:
        """Read the semantic mask alone, where there is one."""
        if len(record.labels) > 1:
            return _read_mask(record.labels[1])
        return self._read(record, want_facts=False)[0].semantic


@dataclass(frozen=True, slots=True, eq=False)
class _Bitmask:
    """What a bitmask says of the values that occur in it, and of its objects.

    Args:
        runs: the map, cut where class, flags or number change.
        ids: id of each value, as in `LabelArrays`.
        train_ids: trainId of each value.
        labels: thing index of every object.
        flags: all flags that any pixel of an object has.
    """

    runs: RunLengths
    ids: Int32[np.ndarray, " V"]
    train_ids: UInt8[np.ndarray, " V"]
    labels: Int64[np.ndarray, " N"]
    flags: Int64[np.ndarray, " N"]


def _read_bitmask(path: Path) -> _Bitmask:
    """Read a bitmask and decide which of its values are objects."""
    colors = read_map(path, what="bitmask", allow={"8-bit RGBA"})
    # Red, green, blue and alpha as the bytes of one number, lowest first.
    runs = RunLengths.of(np.ascontiguousarray(colors).view("<u4")[..., 0])
    red, green, blue, alpha = (
        (runs.present >> shift & 0xFF).astype(np.int64) for shift in (0, 8, 16, 24)
    )
    _check_values(red, green, alpha, path)
    numbers = blue * 256 + alpha
    is_ignored = green & (_CROWD | _IGNORE) > 0
    is_object = (red > 0) & (numbers > 0) & ~is_ignored
    keys, owner = np.unique((red << 16 | numbers)[is_object], return_inverse=True)
    ids = np.where(is_ignored | (red > 0), np.int32(IGNORE_ID), np.int32(0))
    ids[is_object] = owner + 1
    flags = np.zeros(len(keys), dtype=np.int64)
    np.bitwise_or.at(flags, owner, green[is_object])
    train_ids = np.where(red > 0, red - 1 + _FIRST_THING, IGNORE_TRAIN_ID).astype(np.uint8)
    return _Bitmask(runs, ids, train_ids, labels=(keys >> 16) - 1, flags=flags)


def _check_values(
    red: Int64[np.ndarray, " V"],
    green: Int64[np.ndarray, " V"],
    alpha: Int64[np.ndarray, " V"],
    path: Path,
) -> None:
    """Refuse values the format does not have, which tell of a copy gone wrong."""
    rules = (
        (red > NUM_THINGS, red, f"red (the class) must lie in [0, {NUM_THINGS}]"),
        (green > _ALL_FLAGS, green, f"green (the flags) must lie in [0, {_ALL_FLAGS}]"),
    )
    for is_wrong, values, rule in rules:
        if is_wrong.any():
            got = shorten(str(v) for v in np.unique(values[is_wrong]))
            raise UserError(
                f"bitmask's {rule}, got {got} ({path}). Restore the file from BDD100K; a copy may "
                "have exchanged the channels."
            )
    if (red > 0).any() and (alpha == 255).all():
        raise UserError(
            "bitmask's alpha channel must hold object numbers, got 255 everywhere "
            f"({path}). Restore the file from BDD100K; a copy has made it opaque."
        )


def _read_mask(path: Path, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "H W"]:
    """Return the trainIds of a semantic mask, of its bitmask's size where that is known."""
    semantic = read_map(path, what="semantic mask", allow={"8-bit gray"})
    if size is not None and semantic.shape != size:
        raise UserError(
            f"semantic mask must have its bitmask's size {size}, got {semantic.shape} ({path}). "
            "Restore both files from BDD100K."
        )
    counts = cv2.calcHist([semantic], [0], None, [256], [0, 256]).ravel()
    unknown = np.flatnonzero(counts[_FIRST_THING + NUM_THINGS : IGNORE_TRAIN_ID])
    if len(unknown):
        got = shorten(str(v + _FIRST_THING + NUM_THINGS) for v in unknown)
        raise UserError(
            f"class id of a semantic mask must be a trainId (0..18, 255 ignore), got {got} "
            f"({path}). Restore the file from BDD100K."
        )
    return semantic


def _check_split(index: FileIndex, split: str) -> None:
    """Raise unless root and split are there; a wrong split lists the ones that are."""
    require_folder(index.root, rule="root must be a BDD100K folder", remedy=_GET)
    images = index.root / _IMAGES
    require_folder(images, rule=f"root must hold the folder {_IMAGES}", remedy=_GET)
    known = index.folders(_IMAGES)
    if split not in known:
        raise UserError(
            f"split must be a folder of {_IMAGES} ({', '.join(known) or 'there are none'}), got "
            f"{split!r} ({images}). Choose one of these, or restore the missing folder."
        )


def _files_by_stem(index: FileIndex, folder: str) -> dict[str, str]:
    """Return name without suffix -> file; of two pictures of one name both are told."""
    where = str(index.root / folder)
    files: dict[str, str] = {}
    twice: list[str] = []
    for name in index.files(folder):
        if not is_image_name(name):
            continue
        stem = name.rpartition(".")[0]
        if stem in files:
            twice.append(name)
        files[stem] = f"{where}/{name}"
    if twice:
        rule = "files must differ in more than their suffix"
        faults = [FileFault("malformed", Path(where, name), rule) for name in twice]
        raise TreeError(
            f"{rule}, got {len(twice)} that do not: {shorten(twice)} ({where}). Remove one of "
            "each.",
            faults,
        )
    return files
