"""SYNTHIA-RAND-CITYSCAPES trees: RGB and GT/LABELS, byte for byte.

Decisions where the format leaves room:

- Classes are SYNTHIA's own numbers; parking slot, road work and lane marking are no trained class,
  semantic 255.
- An object is a pair (class, number): a rider and the bicycle below it may share a number.
- What number 0 means on a person or vehicle is not published. `options.unnumbered` chooses:
  ignored, one object per 8-connected component of a class, or one object per class.
- Trucks and trains are in SYNTHIA's table but not in this set, so `things` leaves them out; pixels
  of theirs, should there be any, keep their semantic class and are ignored as instances.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from jaxtyping import Int32, Int64, UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, THING_NAMES
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.files.png import read_map
from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.data.records import (
    ImageRecord,
    LabelArrays,
    match_files,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts, require_whole
from uda4inst.errors import UserError
from uda4inst.structures import IGNORE_ID

FOLDER: Final = "RAND_CITYSCAPES"
# SYNTHIA's class numbers; those it has and Cityscapes' training does not are None.
CLASS_NAMES: Final[tuple[str | None, ...]] = (
    None,  # void
    "sky",
    "building",
    "road",
    "sidewalk",
    "fence",
    "vegetation",
    "pole",
    "car",
    "traffic sign",
    "person",
    "bicycle",
    "motorcycle",
    None,  # parking slot
    None,  # road work
    "traffic light",
    "terrain",
    "rider",
    "truck",
    "bus",
    "train",
    "wall",
    None,  # lane marking
)
_THINGS: Final = ("person", "rider", "car", "bus", "motorcycle", "bicycle")
_NUMBER_SHIFT: Final = 16
_PLAIN_NAME: Final = re.compile(r"([0-9]+)\.png")
_GET: Final = (
    "Unpack SYNTHIA-RAND-CITYSCAPES (2016) of synthia-dataset.net there; the root is "
    f"{FOLDER} or the folder it lies in."
)


def _train_ids() -> UInt8[np.ndarray, " C"]:
    by_name = {c.name: c.train_id for c in SEMANTIC_CLASSES}
    values = [IGNORE_TRAIN_ID if name is None else by_name[name] for name in CLASS_NAMES]
    return np.array(values, dtype=np.uint8)


def _thing_indices() -> Int64[np.ndarray, " C"]:
    """Return thing index by class number: -1 no thing, -2 a thing this set has no objects of."""
    values = [
        -1
        if name not in THING_NAMES
        else (THING_NAMES.index(name) if name in _THINGS else _ABSENT_THING)
        for name in CLASS_NAMES
    ]
    return np.array(values, dtype=np.int64)


_ABSENT_THING: Final = -2
_TRAIN_IDS: Final = _train_ids()
_THING_INDICES: Final = _thing_indices()


class Synthia(ImageTree):
    """A SYNTHIA-RAND-CITYSCAPES tree; the root holds `RGB` and `GT/LABELS`, or RAND_CITYSCAPES.

    The split is "train", which is everything: the set has no other.
    """

    name = "SYNTHIA"
    usual_domain = "source"
    things = tuple(sorted(THING_NAMES.index(name) for name in _THINGS))

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        require_whole(self.name, self.split, self.root)
        require_folder(self.root, rule="root must be a SYNTHIA folder", remedy=_GET)
        inside = f"{FOLDER}/" if (self.root / FOLDER).is_dir() else ""
        kinds = ("RGB", "GT/LABELS") if require_labels else ("RGB",)
        for kind in kinds:
            require_folder(
                self.root / inside / kind,
                rule=f"root must hold the folder {inside}{kind}",
                remedy=_GET,
            )
        images, *labels = (_files_by_number(index, f"{inside}{kind}") for kind in kinds)
        if not images:
            raise UserError(
                "root must hold images named 0000000.png, got none "
                f"({self.root / inside / 'RGB'}). {_GET}"
            )
        match_files(
            images,
            {"label map": labels[0]} if labels else {},
            where=self.root,
            remedy="Restore the missing files from SYNTHIA, or remove what is left over.",
        )
        for number in sorted(images, key=lambda digits: (int(digits), digits)):
            files = tuple(found[number] for found in labels)
            yield ImageRecord(number, images[number], files, self.domain)

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return instances in order of class and number; nothing is known about them beside."""
        path = record.labels[0]
        stored = read_map(path, what="label map", allow={"16-bit RGB"})
        # Class in the upper half, so that sorting is by class, then by number.
        packed = stored[..., 0].astype(np.uint32) << _NUMBER_SHIFT | stored[..., 1]
        runs = RunLengths.of(packed)
        classes = (runs.present >> _NUMBER_SHIFT).astype(np.int64)
        if len(unknown := np.unique(classes[classes >= len(CLASS_NAMES)])):
            raise UserError(
                f"class id of a SYNTHIA label map must lie in 0..{len(CLASS_NAMES) - 1} (red "
                f"channel), got {shorten(str(v) for v in unknown)} ({path}). Restore the file "
                "from SYNTHIA."
            )
        things = _THING_INDICES[classes]
        is_numbered = (runs.present & 0xFFFF) != 0
        is_object = (things >= 0) & (is_numbered | (self.options.unnumbered == "one"))
        new_ids = np.where(is_object, is_object.cumsum(), np.where(things == -1, 0, IGNORE_ID))
        labels = LabelArrays(
            ids=runs.paint(new_ids.astype(np.int32)),
            labels=things[is_object],
            semantic=runs.paint(_TRAIN_IDS[classes]),
        )
        if self.options.unnumbered == "components":
            labels = _with_components(labels, packed)
        return labels, None


def _with_components(labels: LabelArrays, packed: np.ndarray) -> LabelArrays:
    """Return labels with every component of unnumbered thing pixels as one more object."""
    ids: Int32[np.ndarray, "H W"] = labels.ids.copy()
    things = labels.labels.tolist()
    for class_id, thing in enumerate(_THING_INDICES.tolist()):
        unnumbered = packed == class_id << _NUMBER_SHIFT
        if thing < 0 or not unnumbered.any():
            continue
        count, components = cv2.connectedComponents(
            unnumbered.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        ids[unnumbered] = components[unnumbered] + len(things)
        things += [thing] * (count - 1)
    return LabelArrays(ids=ids, labels=np.array(things, dtype=np.int64), semantic=labels.semantic)


def _files_by_number(index: FileIndex, folder: str) -> dict[str, str]:
    """Return frame number (its digits) -> file; files of other names are not the data set's."""
    path = str(index.root / folder)
    return {
        match[1]: f"{path}/{name}"
        for name in index.files(folder)
        if (match := _PLAIN_NAME.fullmatch(name))
    }
