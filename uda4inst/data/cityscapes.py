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

import os
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from uda4inst.classes import LABEL_TO_THING, LABEL_TO_TRAIN_ID, MAX_LABEL_ID
from uda4inst.data.png import read_gray8, read_gray16, read_header, read_image
from uda4inst.data.records import (
    ImageRecord,
    LabelArrays,
    make_sample,
    match_files,
    require_folder,
    shorten,
)
from uda4inst.data.runs import Runs
from uda4inst.errors import UserError
from uda4inst.structures import IGNORE_ID, Domain, Sample, Size

IMAGE_SUFFIX: Final = "_leftImg8bit.png"
INSTANCE_SUFFIX: Final = "_gtFine_instanceIds.png"
LABEL_SUFFIX: Final = "_gtFine_labelIds.png"
_FIRST_INSTANCE: Final = 1000  # raw values below are plain label ids
_FIRST_COUNTABLE: Final = 24  # label ids 24..33 have instances, hence groups
_LICENSE_PLATE: Final = 255  # its id -1, stored in 8 bits
_UNKNOWN: Final = 254  # no trainId
_GET: Final = (
    "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of cityscapes-dataset.com "
    "there, or make the toy data with 'uda4inst data toystreets OUT' and give OUT/cityscapes."
)


class Cityscapes:
    """One split of a Cityscapes tree, decoded image by image.

    Args:
        root: the folder holding `leftImg8bit` and `gtFine`.
        split: name of a folder below them, such as train or val.
        require_labels: False opens the images alone and never looks at `gtFine`, as for a target
            domain without labels.
        domain: which side of the adaptation the images belong to.

    Raises:
        UserError: folders are missing, names are malformed, or images and label maps do not pair.
    """

    name: str = "Cityscapes"

    def __init__(
        self,
        root: Path,
        split: str,
        *,
        require_labels: bool = True,
        domain: Domain = "target",
    ) -> None:
        self.root: Final = Path(root)
        self.split: Final = split
        _check_split(self.root, split)
        images = _files_by_name(self.root / "leftImg8bit" / split, IMAGE_SUFFIX)
        if not images:
            raise UserError(
                f"split must hold images named CITY_000000_000000{IMAGE_SUFFIX}, got none "
                f"({self.root / 'leftImg8bit' / split}). {_GET}"
            )
        kinds = _label_files(self.root, split, images) if require_labels else ()
        self.records: Final[tuple[ImageRecord, ...]] = tuple(
            ImageRecord(name, images[name], tuple(kind[name] for kind in kinds), domain)
            for name in sorted(images)
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def basename(self, index: int) -> str:
        """Return CITY_SEQUENCE_FRAME, by which results are matched to images."""
        return self.records[index].sample_id

    def instance_ids_path(self, index: int) -> Path:
        """Return the file of raw instance ids, which evaluation reads itself.

        Raises:
            UserError: the tree was opened without labels.
        """
        return self._label_paths(index)[0]

    def size_of(self, index: int) -> Size:
        """Return (height, width) of an image without decoding it."""
        return read_header(self.records[index].image).size

    def read_image(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return an image as RGB.

        Raises:
            UserError: the file is missing, damaged or not RGB.
        """
        return read_image(self.records[index].image)

    def read_labels(self, index: int) -> LabelArrays:
        """Return instances in order of their raw ids, and the semantic map.

        Raises:
            UserError: a file is missing, damaged, of another layout, or holds an unknown class.
        """
        instance_path, *label_path = self._label_paths(index)
        runs = Runs.of(read_gray16(instance_path, what="instance map"))
        present = runs.present.astype(np.int64)
        is_numbered = present >= _FIRST_INSTANCE
        classes = np.where(is_numbered, present // _FIRST_INSTANCE, present)
        _check_classes(present[classes > MAX_LABEL_ID], instance_path)
        things = LABEL_TO_THING[classes]
        is_object = is_numbered & (things >= 0)
        is_group = ~is_numbered & (present >= _FIRST_COUNTABLE)
        new_ids = np.where(is_object, is_object.cumsum(), np.where(is_group, IGNORE_ID, 0))
        semantic = (
            _read_semantic(label_path[0], runs.size)
            if label_path
            else runs.paint(LABEL_TO_TRAIN_ID[classes])
        )
        return LabelArrays(
            ids=runs.paint(new_ids.astype(np.int32)), labels=things[is_object], semantic=semantic
        )

    def sample(self, index: int) -> Sample:
        """Return image and labels together.

        Raises:
            UserError: a file cannot be read, or the sizes differ.
        """
        return make_sample(self.records[index], self.read_image(index), self.read_labels(index))

    def _label_paths(self, index: int) -> tuple[Path, ...]:
        """Return the label files of an image, refusing when labels were left out."""
        record = self.records[index]
        if not record.labels:
            raise UserError(
                f"labels of {record.sample_id!r} must be opened to be read, got a tree opened "
                f"without labels ({self.root}). Open it with require_labels=True."
            )
        return record.labels


def _check_split(root: Path, split: str) -> None:
    """Raise unless root and split are there; a wrong split lists the ones that are."""
    require_folder(root, rule="root must be a Cityscapes folder", remedy=_GET)
    images = root / "leftImg8bit"
    require_folder(images, rule="root must hold the folder leftImg8bit", remedy=_GET)
    known = sorted(p.name for p in images.iterdir() if p.is_dir())
    if split not in known:
        raise UserError(
            f"split must be a folder of leftImg8bit ({', '.join(known) or 'there are none'}), "
            f"got {split!r} ({images}). Choose one of these, or restore the missing folder."
        )


def _label_files(root: Path, split: str, images: dict[str, Path]) -> tuple[dict[str, Path], ...]:
    """Return instance maps and, where the split has them, label maps by image name."""
    folder = root / "gtFine" / split
    require_folder(folder, rule=f"split {split!r} must have labels in gtFine", remedy=_GET)
    instances = _files_by_name(folder, INSTANCE_SUFFIX)
    labels = _files_by_name(folder, LABEL_SUFFIX)
    found = {"instance map": instances.keys()} | ({"label map": labels.keys()} if labels else {})
    match_files(
        images,
        found,
        where=root,
        remedy=f"Restore the missing files ({folder}), or remove what is left over.",
    )
    return (instances, labels) if labels else (instances,)


def _files_by_name(folder: Path, suffix: str) -> dict[str, Path]:
    """Return CITY_SEQUENCE_FRAME -> file for every file below the city folders."""
    files: dict[str, Path] = {}
    malformed: list[str] = []
    for city in sorted(folder.iterdir()):
        if not city.is_dir() or city.name.startswith("."):
            continue
        for entry in os.scandir(city):
            if not entry.name.endswith(suffix) or entry.name.startswith("."):
                continue
            name = entry.name.removesuffix(suffix)
            if name.count("_") != 2 or name in files:
                malformed.append(entry.path)
            files[name] = Path(entry.path)
    if malformed:
        raise UserError(
            f"files must be named CITY_SEQUENCE_FRAME{suffix}, each name once, got "
            f"{len(malformed)} others: {shorten(sorted(malformed))}. Rename or remove them."
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


def _read_semantic(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
    """Return the trainIds of a labelIds file."""
    raw = read_gray8(path, what="label map")
    if raw.shape != size:
        raise UserError(
            f"label map must have its instance map's size {size}, got {raw.shape} ({path}). "
            "Restore both files from one archive."
        )
    semantic = np.asarray(cv2.LUT(raw, _SEMANTIC_TABLE))
    _check_classes(np.unique(raw[semantic == _UNKNOWN]), path)
    return semantic
