"""UrbanSyn trees: rgb, ss, panoptic and bbox2d, byte for byte.

Decisions where the format leaves room:

- An object is a panoptic colour whose blue is a thing's trainId (11..18) and which `ss` confirms on
  most of its pixels; how stuff is coloured is not published, so no other colour counts.
- Pixels that `ss` calls a thing but no object owns become ignore, id -1: there is something there,
  so calling it background would teach the wrong thing.
- `ss` holds trainIds, 19 unlabelled. An image with values in 20..33 is read as regular Cityscapes
  ids, and the log says so.
- `bbox2d` is read for occlusion alone (it lists fewer objects than `panoptic`) and may be missing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, LABEL_TO_TRAIN_ID, MAX_LABEL_ID, NUM_THINGS
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.files.png import read_map
from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.data.records import (
    ImageRecord,
    InstanceArrays,
    LabelArrays,
    match_files,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts, require_whole
from uda4inst.errors import UserError
from uda4inst.reading import parse_json, read_bytes
from uda4inst.structures import IGNORE_ID

_log = logging.getLogger(__name__)

_FIRST_THING: Final = 11  # trainId of person; things are 11..18
_UNLABELLED: Final = 19
_GET: Final = (
    "Download rgb, ss and panoptic of UrbanSyn/UrbanSyn from huggingface.co there, or make the toy "
    "data with 'uda4inst data toystreets OUT' and give OUT/urbansyn."
)


class UrbanSyn(ImageTree):
    """An UrbanSyn tree; the root holds `rgb`, `ss`, `panoptic` and perhaps `bbox2d`.

    The split is "train", which is everything: UrbanSyn has no other.
    """

    name = "UrbanSyn"
    usual_domain = "source"
    owns_all_things = True

    _said_regular_ids = False

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        require_whole(self.name, self.split, self.root)
        kinds = ("rgb", "ss", "panoptic") if require_labels else ("rgb",)
        require_folder(self.root, rule="root must be an UrbanSyn folder", remedy=_GET)
        for kind in kinds:
            require_folder(self.root / kind, rule=f"root must hold the folder {kind}", remedy=_GET)
        files = {kind: _files_by_number(index, kind, ".png") for kind in kinds}
        if not files["rgb"]:
            raise UserError(
                f"root must hold images named rgb_0001.png, got none ({self.root / 'rgb'}). {_GET}"
            )
        match_files(
            files["rgb"],
            {f"{kind} map": files[kind] for kind in kinds[1:]},
            where=self.root,
            remedy="Restore the missing files from UrbanSyn, or remove what is left over.",
        )
        for number in sorted(files["rgb"], key=lambda digits: (int(digits), digits)):
            labels = tuple(files[kind][number] for kind in kinds[1:])
            yield ImageRecord(f"rgb_{number}", files["rgb"][number], labels, self.domain)

    def fact_files(self, record: ImageRecord) -> list[Path]:
        """Return the `bbox2d` file of an image, where there is one."""
        number = record.sample_id.removeprefix("rgb_")
        path = self.root / "bbox2d" / f"bbox2d_{number}.json"
        return [path] if path.exists() else []

    def unused_files(self) -> list[Path]:
        """Return the `bbox2d` files that belong to no image."""
        if not (self.root / "bbox2d").is_dir():
            return []
        boxes = _files_by_number(FileIndex(self.root), "bbox2d", ".json")
        known = {record.sample_id.removeprefix("rgb_") for record in self.records}
        return [Path(boxes[number]) for number in sorted(boxes.keys() - known)]

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return instances in order of their panoptic colour, and their occlusion."""
        objects = self._read_objects(record)
        found = _instances_of(objects)
        labels = LabelArrays(found.ids, found.labels, objects.runs.paint(objects.semantic))
        return labels, self._facts(record, objects.colors) if want_facts else None

    def _read_instances(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[InstanceArrays, ObjectFacts | None]:
        """Return the same without painting the semantic map."""
        objects = self._read_objects(record)
        return _instances_of(objects), self._facts(record, objects.colors) if want_facts else None

    def _read_semantic(self, record: ImageRecord) -> UInt8[np.ndarray, "H W"]:
        """Read the ss map alone."""
        path = record.labels[0]
        stored = _read_ss(path)
        present = np.flatnonzero(cv2.calcHist([stored], [0], None, [256], [0, 256]))
        table = np.full(256, IGNORE_TRAIN_ID, np.uint8)
        table[present] = self._to_train_ids(present.astype(np.uint8), path)
        return np.asarray(cv2.LUT(stored, table))

    def _facts(self, record: ImageRecord, colors: Int64[np.ndarray, " N"]) -> ObjectFacts:
        """Return what `bbox2d` says; NaN where it lists no box of the object's colour."""
        shares = {c: s for path in self.fact_files(record) for c, s in _read_boxes(path).items()}
        occlusion = np.array([shares.get(c, np.nan) for c in colors.tolist()], dtype=np.float32)
        return ObjectFacts(occlusion, np.full(len(colors), np.nan, np.float32))

    def _read_objects(self, record: ImageRecord) -> _Objects:
        """Read both maps as one, and decide which panoptic colours are objects."""
        ss_path, panoptic_path = record.labels
        stored = _read_ss(ss_path)
        colors = read_map(panoptic_path, what="panoptic map", allow={"8-bit RGBA", "8-bit RGB"})
        if colors.shape[:2] != stored.shape:
            raise UserError(
                f"panoptic map must have its ss map's size {stored.shape}, got "
                f"{colors.shape[:2]} ({panoptic_path}). Restore both files from UrbanSyn."
            )
        # Red, green, blue and ss as the bytes of one number, lowest first.
        four = colors if colors.shape[2] == 4 else cv2.cvtColor(colors, cv2.COLOR_RGB2RGBA)
        packed = cv2.insertChannel(stored, four, 3).view("<u4")[..., 0]
        runs = RunLengths.of(packed)
        semantic = self._to_train_ids((runs.present >> 24).astype(np.uint8), ss_path)
        return _find_objects(runs, semantic)

    def _to_train_ids(
        self, present: UInt8[np.ndarray, " V"], path: Path
    ) -> UInt8[np.ndarray, " V"]:
        """Return trainIds with 255 for unlabelled, whichever ids the file holds."""
        labelled = present[present != IGNORE_TRAIN_ID]
        if len(unknown := np.unique(labelled[labelled > MAX_LABEL_ID])):
            raise UserError(
                f"class id of an ss map must be a trainId (0..18, 19 or 255 unlabelled) or a "
                f"Cityscapes label id (0..{MAX_LABEL_ID}), got {shorten(str(v) for v in unknown)} "
                f"({path}). Restore the file from UrbanSyn."
            )
        if (labelled > _UNLABELLED).any():
            if not self._said_regular_ids:
                _log.warning("%s holds regular Cityscapes ids, not trainIds: read as such", path)
                self._said_regular_ids = True
            return LABEL_TO_TRAIN_ID[present]
        return np.where(present == _UNLABELLED, np.uint8(IGNORE_TRAIN_ID), present)


@dataclass(frozen=True, slots=True, eq=False)
class _Objects:
    """The objects of one frame.

    Args:
        runs: the frame, cut where panoptic colour or class changes.
        semantic: trainId of each of the runs' values.
        number: 1.. the object each value belongs to, 0 none.
        colors: colour of every object, as red + 256 green + 65536 blue, ascending.
    """

    runs: RunLengths
    semantic: UInt8[np.ndarray, " V"]
    number: Int64[np.ndarray, " V"]
    colors: Int64[np.ndarray, " N"]


def _read_ss(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Return an ss map as stored; of a coloured one its red channel."""
    stored = read_map(path, what="ss map", allow={"8-bit gray", "8-bit RGB", "8-bit RGBA"})
    return stored if stored.ndim == 2 else np.ascontiguousarray(stored[..., 0])


def _instances_of(objects: _Objects) -> InstanceArrays:
    """Return the objects as instances; thing pixels that none owns are ignored."""
    is_thing = (objects.semantic >= _FIRST_THING) & (objects.semantic != IGNORE_TRAIN_ID)
    new_ids = np.where(is_thing & (objects.number == 0), IGNORE_ID, objects.number)
    return InstanceArrays(
        ids=objects.runs.paint(new_ids.astype(np.int32)),
        labels=(objects.colors >> 16).astype(np.int64) - _FIRST_THING,
    )


def _find_objects(runs: RunLengths, semantic: UInt8[np.ndarray, " V"]) -> _Objects:
    """Take as objects the thing colours that ss confirms on more than half of their pixels."""
    color_of_value = runs.present.astype(np.int64) & 0xFFFFFF
    colors, color_index = np.unique(color_of_value, return_inverse=True)
    train_ids = colors >> 16
    agrees = train_ids[color_index] == semantic
    totals = np.bincount(color_index, weights=runs.counts)
    agreed = np.bincount(color_index, weights=runs.counts * agrees)
    is_thing = (train_ids >= _FIRST_THING) & (train_ids < _FIRST_THING + NUM_THINGS)
    is_object = is_thing & (2 * agreed > totals)
    number = np.where(is_object, is_object.cumsum(), 0)
    return _Objects(runs, semantic, number[color_index], colors[is_object])


def _read_boxes(path: Path) -> dict[int, float]:
    """Return the occluded share of every box by object key."""
    try:
        boxes = parse_json(read_bytes(path), allow_nan=True)
        return {
            (blue << 16 | green << 8 | red): float(box["occlusion_percentage"]) / 100
            for box in boxes
            for red, green, blue in [box["color"][:3]]
        }
    except OSError as error:
        raise UserError(f"bbox2d file must be readable, got {error} ({path}).") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            "bbox2d file must be a JSON list of boxes with color and occlusion_percentage, got "
            f"{type(error).__name__}: {error} ({path}). Restore the file from UrbanSyn."
        ) from error


def _files_by_number(index: FileIndex, kind: str, suffix: str) -> dict[str, str]:
    """Return frame number (its digits) -> file; files of other names are not the data set's."""
    pattern = re.compile(rf"{kind}_(\d+){re.escape(suffix)}")
    folder = str(index.root / kind)
    return {
        match[1]: f"{folder}/{name}"
        for name in index.files(kind)
        if (match := pattern.fullmatch(name))
    }
