"""Cityscapes trees: leftImg8bit and gtFine, byte for byte.

Decisions where the format leaves room:

- Thing groups (raw values 24..33 without a number) become ignore, id -1: the evaluator neither
  rewards nor punishes there. So do the plain values 29 and 30, which it treats as void.
- Caravan and trailer *instances* (29xxx, 30xxx) become background, id 0, with semantic 255: the
  evaluator counts a car predicted on one as a false positive, so it is no place to look away from.
- `labelIds` files are optional as a whole, since both maps are painted from the same polygons:
  without any the semantic map is taken from the instance map. Having some but not all is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Int32, Int64, UInt8

from uda4inst.classes import (
    BACKGROUND_LABEL_ID,
    LABEL_TO_THING,
    LABEL_TO_TRAIN_ID,
    MAX_LABEL_ID,
)
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.files.png import read_map
from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.data.records import (
    FileFault,
    ImageRecord,
    InstanceArrays,
    LabelArrays,
    TreeError,
    match_files,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts
from uda4inst.errors import UserError
from uda4inst.structures import IGNORE_ID

IMAGE_SUFFIX: Final = "_leftImg8bit.png"
INSTANCE_SUFFIX: Final = "_gtFine_instanceIds.png"
LABEL_SUFFIX: Final = "_gtFine_labelIds.png"
_FIRST_INSTANCE: Final = 1000  # raw values below are plain label ids
_FIRST_COUNTABLE: Final = 24  # label ids 24..33 have instances, hence groups
_COUNTED_AS_NOTHING: Final = (29, 30)  # label ids whose instances are background
_LICENSE_PLATE: Final = 255  # its id -1, stored in 8 bits
_UNKNOWN: Final = 254  # no trainId
_GET: Final = (
    "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of cityscapes-dataset.com "
    "there, or make the toy data with 'uda4inst data toystreets OUT' and give OUT/cityscapes."
)


class Cityscapes(ImageTree):
    """One split of a Cityscapes tree; the root holds `leftImg8bit` and `gtFine`.

    The split is a folder below them, such as train or val; opened without labels, `gtFine` is never
    looked at.
    """

    name = "Cityscapes"
    usual_domain = "target"

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        _check_split(self.root, self.split, index)
        images = _files_by_name(index, f"leftImg8bit/{self.split}", IMAGE_SUFFIX)
        if not images:
            raise UserError(
                f"split must hold images named CITY_000000_000000{IMAGE_SUFFIX}, got none "
                f"({self.root / 'leftImg8bit' / self.split}). {_GET}"
            )
        kinds = _label_files(index, self.split, images) if require_labels else ()
        for name in sorted(images):
            labels = tuple(kind[name] for kind in kinds)
            yield ImageRecord(name, images[name], labels, self.domain)

    def instance_ids_path(self, index: int) -> Path:
        """Return the file of raw instance ids.

        Raises:
            UserError: the tree was opened without labels.
        """
        return self._labelled_record(index).labels[0]

    def read_instance_ids(self, index: int) -> Int32[np.ndarray, "H W"]:
        """Return the raw instance ids, as the official evaluation reads them.

        With a class map, or a filter of objects, they are made of the labels that these leave.

        Raises:
            UserError: the file is missing, damaged, of another layout, or holds an unknown class.
        """
        path = self.instance_ids_path(index)
        raw = read_map(path, what="instance map", allow={"16-bit gray"}).astype(np.int32)
        if self.options.class_map is not None or self.options.objects.is_active:
            ids = super().read_instance_ids(index)
            ids[np.isin(raw // _FIRST_INSTANCE, _COUNTED_AS_NOTHING)] = BACKGROUND_LABEL_ID
            return ids
        values = np.flatnonzero(np.bincount(raw.ravel()))
        classes = np.where(values >= _FIRST_INSTANCE, values // _FIRST_INSTANCE, values)
        _check_classes(values[classes > MAX_LABEL_ID], path)
        return raw

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return instances in order of their raw ids; nothing is known about them beside."""
        instances, runs, classes = _decode_instances(record.labels[0])
        semantic = (
            _read_label_map(record.labels[1], runs.size)
            if len(record.labels) > 1
            else runs.paint(LABEL_TO_TRAIN_ID[classes])
        )
        return LabelArrays(instances.ids, instances.labels, semantic), None

    def _read_instances(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[InstanceArrays, ObjectFacts | None]:
        """Read the instance map alone."""
        del want_facts
        return _decode_instances(record.labels[0])[0], None

    def _read_semantic(self, record: ImageRecord) -> UInt8[np.ndarray, "H W"]:
        """Read the label map alone, where there is one."""
        if len(record.labels) > 1:
            return _read_label_map(record.labels[1])
        return self._read(record, want_facts=False)[0].semantic


def _decode_instances(path: Path) -> tuple[InstanceArrays, RunLengths, Int64[np.ndarray, " V"]]:
    """Return the instances of a raw map, its runs, and the label id of each of their values."""
    runs = RunLengths.of(read_map(path, what="instance map", allow={"16-bit gray"}))
    present = runs.present.astype(np.int64)
    is_numbered = present >= _FIRST_INSTANCE
    classes = np.where(is_numbered, present // _FIRST_INSTANCE, present)
    _check_classes(present[classes > MAX_LABEL_ID], path)
    things = LABEL_TO_THING[classes]
    is_object = is_numbered & (things >= 0)
    is_group = ~is_numbered & (present >= _FIRST_COUNTABLE)
    new_ids = np.where(is_object, is_object.cumsum(), np.where(is_group, IGNORE_ID, 0))
    ids = runs.paint(new_ids.astype(np.int32))
    return InstanceArrays(ids=ids, labels=things[is_object]), runs, classes


class CityscapesLabels(Cityscapes):
    """The annotation of a split alone: the root holds `gtFine`, and pictures are not looked at.

    What predictions made elsewhere are judged by. An instance map stands for its picture, and may
    be named as any city's.
    """

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        folder = f"gtFine/{self.split}"
        if not (self.root / folder).is_dir():
            splits = index.folders("gtFine") if (self.root / "gtFine").is_dir() else ()
            known = f"Splits there: {', '.join(splits)}." if splits else "Give the Cityscapes root."
            raise UserError(
                f"ground truth must lie in {folder}, got no folder {self.root / folder}. {known}"
            )
        found = [
            (name.removesuffix(INSTANCE_SUFFIX), f"{self.root}/{folder}/{city}/{name}")
            for city in index.folders(folder)
            for name in index.files(f"{folder}/{city}")
            if name.endswith(INSTANCE_SUFFIX)
        ]
        if not found:
            raise UserError(
                f"ground truth must hold <city>/*{INSTANCE_SUFFIX} files, got none "
                f"({self.root / folder}). Unpack gtFine there, or choose another split."
            )
        doubled = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
        if doubled:
            raise UserError(
                f"ground truth names must differ, got two files of {shorten(doubled)} "
                f"({self.root / folder}). Remove one of each."
            )
        for name, file in sorted(found):
            yield ImageRecord(name, file, (file,), self.domain)


def _check_split(root: Path, split: str, index: FileIndex) -> None:
    """Raise unless root and split are there; a wrong split lists the ones that are."""
    require_folder(root, rule="root must be a Cityscapes folder", remedy=_GET)
    images = root / "leftImg8bit"
    require_folder(images, rule="root must hold the folder leftImg8bit", remedy=_GET)
    known = index.folders("leftImg8bit")
    if split not in known:
        raise UserError(
            f"split must be a folder of leftImg8bit ({', '.join(known) or 'there are none'}), "
            f"got {split!r} ({images}). Choose one of these, or restore the missing folder."
        )


def _label_files(
    index: FileIndex, split: str, images: dict[str, Path]
) -> tuple[dict[str, Path], ...]:
    """Return instance maps and, where the split has them, label maps by image name."""
    folder = index.root / "gtFine" / split
    require_folder(folder, rule=f"split {split!r} must have labels in gtFine", remedy=_GET)
    instances = _files_by_name(index, f"gtFine/{split}", INSTANCE_SUFFIX)
    labels = _files_by_name(index, f"gtFine/{split}", LABEL_SUFFIX)
    found = {"instance map": instances} | ({"label map": labels} if labels else {})
    match_files(
        images,
        found,
        where=index.root,
        remedy=f"Restore the missing files ({folder}), or remove what is left over.",
    )
    return (instances, labels) if labels else (instances,)


def _files_by_name(index: FileIndex, folder: str, suffix: str) -> dict[str, Path]:
    """Return CITY_SEQUENCE_FRAME -> file for every file below the city folders."""
    files: dict[str, Path] = {}
    malformed: list[Path] = []
    for city in index.folders(folder):
        path = index.root / folder / city
        for file_name in index.files(f"{folder}/{city}"):
            if not file_name.endswith(suffix):
                continue
            name = file_name.removesuffix(suffix)
            if name.count("_") != 2 or name in files:
                malformed.append(path / file_name)
            files[name] = path / file_name
    if malformed:
        rule = f"files must be named CITY_SEQUENCE_FRAME{suffix}, each name once"
        raise TreeError(
            f"{rule}, got {len(malformed)} others: {shorten(sorted(map(str, malformed)))}. Rename "
            "or remove them.",
            [FileFault("malformed", found, f"{rule}, got another") for found in malformed],
        )
    return files


def _check_classes(unknown: np.ndarray, path: Path) -> None:
    """Raise for raw values whose class is not in Cityscapes' label table."""
    if len(unknown):
        raise UserError(
            f"class id must lie in [0, {MAX_LABEL_ID}] (instance ids are class * 1000 + number), "
            f"got {shorten(str(v) for v in unknown)} ({path}). Restore the file, or convert its "
            "classes to Cityscapes' label ids."
        )


def _known_label_table() -> UInt8[np.ndarray, " 256"]:
    """Return label id -> trainId with a mark where the id is in no table."""
    table = LABEL_TO_TRAIN_ID.copy()
    table[MAX_LABEL_ID + 1 : _LICENSE_PLATE] = _UNKNOWN
    return table


_SEMANTIC_TABLE: Final = _known_label_table()


def _read_label_map(path: Path, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "H W"]:
    """Return the trainIds of a labelIds file, of its instance map's size where that is known."""
    raw = read_map(path, what="label map", allow={"8-bit gray"})
    if size is not None and raw.shape != size:
        raise UserError(
            f"label map must have its instance map's size {size}, got {raw.shape} ({path}). "
            "Restore both files from one archive."
        )
    semantic = np.asarray(cv2.LUT(raw, _SEMANTIC_TABLE))
    _check_classes(np.unique(raw[semantic == _UNKNOWN]), path)
    return semantic
