"""Synscapes trees: img/rgb, img/class, img/instance and meta, byte for byte.

Decisions where the format leaves room:

- The 1440x720 pictures of img/rgb are read, never img/rgb-2k, which has no labels of its size.
- An object's class is what `meta` says of its id. Of its pixels those count whose class map agrees;
  other pixels of a person or vehicle become ignore, id -1.
- `meta` knows motorcyclists (32) and bicyclists (33), person and vehicle in one. Their pixels of
  class rider become one object, those of the vehicle another; both have the facts of the whole.
- A class map value of 255 is Cityscapes' license plate (id -1) in 8 bits: semantic 255.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from uda4inst.classes import LABEL_TO_THING, LABEL_TO_TRAIN_ID, MAX_LABEL_ID
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
from uda4inst.reading import parse_json, read_text
from uda4inst.structures import IGNORE_ID

_KINDS: Final = {  # what messages call them -> folder, suffix
    "image": ("img/rgb", ".png"),
    "class map": ("img/class", ".png"),
    "instance map": ("img/instance", ".png"),
    "meta file": ("meta", ".json"),
}
_RIDER: Final = 25
_WITH_RIDER: Final = (32, 33)  # meta's motorcyclist and bicyclist: rider and vehicle in one
_LICENSE_PLATE: Final = 255  # its id -1, stored in 8 bits
_RESTORE: Final = "Restore the file from Synscapes."
_GET: Final = (
    "Download Synscapes (synscapes.on.liu.se) and unpack img/rgb, img/class, img/instance and meta "
    "there."
)


class Synscapes(ImageTree):
    """A Synscapes tree; the root holds `img/rgb`, `img/class`, `img/instance` and `meta`.

    The split is "train", which is everything: Synscapes has no other.
    """

    name = "Synscapes"
    usual_domain = "source"

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        require_whole(self.name, self.split, self.root)
        require_folder(self.root, rule="root must be a Synscapes folder", remedy=_GET)
        kinds = _KINDS if require_labels else {"image": _KINDS["image"]}
        for folder, _ in kinds.values():
            require_folder(
                self.root / folder, rule=f"root must hold the folder {folder}", remedy=_GET
            )
        images, *labels = (_files_by_number(index, *place) for place in kinds.values())
        if not images:
            raise UserError(
                f"root must hold images named 1.png, got none ({self.root / 'img/rgb'}). {_GET}"
            )
        match_files(
            images,
            dict(zip(list(kinds)[1:], labels, strict=True)),
            where=self.root,
            remedy="Restore the missing files from Synscapes, or remove what is left over.",
        )
        for number in sorted(images, key=lambda digits: (int(digits), digits)):
            files = tuple(found[number] for found in labels)
            yield ImageRecord(number, images[number], files, self.domain)

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return instances in order of their class and id, and what `meta` says about them."""
        class_path, instance_path, meta_path = record.labels
        runs = _read_maps(class_path, instance_path)
        # One value is one class within one instance id: at most one object.
        classes = (runs.present >> 24).astype(np.int64)
        ids = runs.present.astype(np.int64) & 0xFFFFFF
        _check_classes(classes, class_path)
        meta = _read_meta(meta_path)
        fused = _classes_of(ids, meta, meta_path, instance_path)
        is_rider = (classes == _RIDER) & np.isin(fused, _WITH_RIDER)
        is_thing = LABEL_TO_THING[classes] >= 0
        is_object = is_thing & (ids > 0) & ((classes == fused) | is_rider)
        new_ids = np.where(is_object, is_object.cumsum(), np.where(is_thing, IGNORE_ID, 0))
        labels = LabelArrays(
            ids=runs.paint(new_ids.astype(np.int32)),
            labels=LABEL_TO_THING[classes[is_object]],
            semantic=runs.paint(LABEL_TO_TRAIN_ID[classes]),
        )
        if not want_facts:
            return labels, None
        shares = (
            _shares_of(ids[is_object], meta, kind, meta_path) for kind in ("occluded", "truncated")
        )
        return labels, ObjectFacts(*shares)

    def _read_semantic(self, record: ImageRecord) -> UInt8[np.ndarray, "H W"]:
        """Read the class map alone."""
        path = record.labels[0]
        classes = read_map(path, what="class map", allow={"8-bit gray"})
        _check_classes(np.flatnonzero(np.bincount(classes.ravel(), minlength=256)), path)
        return np.asarray(cv2.LUT(classes, LABEL_TO_TRAIN_ID))


def _read_maps(class_path: Path, instance_path: Path) -> RunLengths:
    """Return both maps as one: instance id in the lower three bytes, class in the highest."""
    classes = read_map(class_path, what="class map", allow={"8-bit gray"})
    colors = read_map(instance_path, what="instance map", allow={"8-bit RGB", "8-bit RGBA"})
    if colors.shape[:2] != classes.shape:
        raise UserError(
            f"instance map must have its class map's size {classes.shape}, got "
            f"{colors.shape[:2]} ({instance_path}). Restore both files from Synscapes."
        )
    four = colors if colors.shape[2] == 4 else cv2.cvtColor(colors, cv2.COLOR_RGB2RGBA)
    packed = cv2.insertChannel(classes, four, 3).view("<u4")[..., 0]
    return RunLengths.of(packed)


def _check_classes(classes: Int64[np.ndarray, " V"], path: Path) -> None:
    """Refuse class ids that Cityscapes does not have."""
    unknown = classes[(classes > MAX_LABEL_ID) & (classes != _LICENSE_PLATE)]
    if len(unknown):
        raise UserError(
            f"class id of a class map must be a Cityscapes label id (0..{MAX_LABEL_ID}, 255 "
            f"license plate), got {shorten(str(v) for v in np.unique(unknown))} ({path}). "
            f"{_RESTORE}"
        )


def _read_meta(path: Path) -> Mapping[str, Any]:
    """Return what a meta file says about instances: for each kind of fact, values by id."""
    try:
        meta = parse_json(read_text(path, encoding="utf-8-sig"), allow_nan=True)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"meta file must be readable, got {reason} ({path}). {_RESTORE}") from error
    except ValueError as error:
        raise UserError(f"meta file must be JSON, got {error} ({path}). {_RESTORE}") from error
    instances = meta.get("instance") if isinstance(meta, dict) else None
    if not isinstance(instances, dict):
        raise UserError(f"meta file must hold the object 'instance', got none ({path}). {_RESTORE}")
    return instances


def _values_by_id(meta: Mapping[str, Any], kind: str, path: Path) -> Mapping[str, Any]:
    """Return one kind of fact about instances: values by id, as text."""
    values = meta.get(kind)
    if not isinstance(values, dict):
        raise UserError(
            f"meta file must hold the object 'instance.{kind}', got none ({path}). {_RESTORE}"
        )
    return values


def _classes_of(
    ids: Int64[np.ndarray, " V"], meta: Mapping[str, Any], path: Path, instance_path: Path
) -> Int64[np.ndarray, " V"]:
    """Return the class that `meta` gives each id, 0 for no instance."""
    known = _values_by_id(meta, "class", path)
    present = np.unique(ids).tolist()
    found = {id_: known.get(str(id_)) for id_ in present if id_}
    if missing := [str(id_) for id_, value in found.items() if value is None]:
        raise UserError(
            f"instance.class must list every id of the instance map ({instance_path.name}), got "
            f"none for {shorten(missing)} ({path}). Restore both files from Synscapes."
        )
    wrong = [
        f"{value!r} for {id_}"
        for id_, value in found.items()
        if type(value) is not int or not 0 <= value <= MAX_LABEL_ID
    ]
    if wrong:
        raise UserError(
            f"instance.class must give Cityscapes label ids (0..{MAX_LABEL_ID}), got "
            f"{shorten(wrong)} ({path}). {_RESTORE}"
        )
    classes = np.array([found.get(id_, 0) for id_ in present], dtype=np.int64)
    return classes[np.searchsorted(present, ids)]


def _shares_of(
    ids: Int64[np.ndarray, " N"], meta: Mapping[str, Any], kind: str, path: Path
) -> Float32[np.ndarray, " N"]:
    """Return the occluded or truncated share of every object."""
    known = _values_by_id(meta, kind, path)
    shares = [known.get(str(id_)) for id_ in ids.tolist()]
    wrong = [
        f"{value!r} for {id_}"
        for id_, value in zip(ids.tolist(), shares, strict=True)
        if isinstance(value, bool) or not isinstance(value, int | float)
    ]
    if wrong:
        raise UserError(
            f"instance.{kind} must give a number for every id, got {shorten(wrong)} ({path}). "
            f"{_RESTORE}"
        )
    return np.array(shares, dtype=np.float32)


def _files_by_number(index: FileIndex, folder: str, suffix: str) -> dict[str, str]:
    """Return frame number (its digits) -> file; files of other names are not the data set's."""
    pattern = re.compile(rf"([0-9]+){re.escape(suffix)}")
    path = str(index.root / folder)
    return {
        match[1]: f"{path}/{name}"
        for name in index.files(folder)
        if (match := pattern.fullmatch(name))
    }
