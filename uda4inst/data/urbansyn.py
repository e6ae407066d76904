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

import json
import logging
import os
import re
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, LABEL_TO_TRAIN_ID, MAX_LABEL_ID, NUM_THINGS
from uda4inst.data.png import read_colors, read_header, read_image
from uda4inst.data.records import (
    ImageRecord,
    LabelArrays,
    make_sample,
    match_files,
    require_folder,
    shorten,
)
from uda4inst.errors import UserError
from uda4inst.structures import IGNORE_ID, Domain, Sample, Size

_log = logging.getLogger(__name__)

_FIRST_THING: Final = 11  # trainId of person; things are 11..18
_UNLABELLED: Final = 19
_CODES: Final = 1 << 16  # (red, green) of a panoptic colour
_GET: Final = (
    "Download rgb, ss and panoptic of UrbanSyn/UrbanSyn from huggingface.co there, or make the toy "
    "data with 'uda4inst data toystreets OUT' and give OUT/urbansyn."
)


class UrbanSyn:
    """An UrbanSyn tree, decoded image by image.

    Args:
        root: the folder holding `rgb`, `ss`, `panoptic` and perhaps `bbox2d`.
        split: "train", which is everything: UrbanSyn has no split.
        require_labels: False opens the images alone.
        domain: which side of the adaptation the images belong to.

    Raises:
        UserError: folders are missing, or images and label maps do not pair.
    """

    name: Final = "UrbanSyn"

    def __init__(
        self,
        root: Path,
        split: str = "train",
        *,
        require_labels: bool = True,
        domain: Domain = "source",
    ) -> None:
        self.root: Final = Path(root)
        self.split: Final = split
        if split != "train":
            raise UserError(
                f"split must be 'train' (UrbanSyn has no other), got {split!r} ({root}). "
                "Use split: train."
            )
        kinds = ("rgb", "ss", "panoptic") if require_labels else ("rgb",)
        require_folder(self.root, rule="root must be an UrbanSyn folder", remedy=_GET)
        for kind in kinds:
            require_folder(self.root / kind, rule=f"root must hold the folder {kind}", remedy=_GET)
        files = {kind: _files_by_number(self.root / kind, kind, ".png") for kind in kinds}
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
        self.records: Final[tuple[ImageRecord, ...]] = tuple(
            ImageRecord(
                f"rgb_{number}",
                files["rgb"][number],
                tuple(files[kind][number] for kind in kinds[1:]),
                domain,
            )
            for number in sorted(files["rgb"], key=lambda digits: (int(digits), digits))
        )
        self._said_regular_ids = False

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

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
        """Return instances in order of their panoptic colour, and the semantic map.

        Raises:
            UserError: a file is missing, damaged, of another layout, or holds an unknown class.
        """
        keys, semantic = self._read_maps(index)
        objects = _object_keys(keys, semantic)
        to_id = np.zeros(NUM_THINGS * _CODES + 1, dtype=np.int32)
        to_id[objects] = np.arange(1, len(objects) + 1, dtype=np.int32)
        ids = to_id[keys]
        ids[(ids == 0) & (semantic >= _FIRST_THING) & (semantic != IGNORE_TRAIN_ID)] = IGNORE_ID
        return LabelArrays(ids=ids, labels=objects // _CODES, semantic=semantic)

    def read_occlusion(self, index: int) -> Float32[np.ndarray, " N"]:
        """Return how much of each instance of `read_labels` is hidden, in [0, 1].

        NaN where `bbox2d` lists no box of the instance's colour, or the file is not there.

        Raises:
            UserError: a file is unreadable or is not UrbanSyn's list of boxes.
        """
        objects = _object_keys(*self._read_maps(index))
        number = self.records[index].sample_id.removeprefix("rgb_")
        path = self.root / "bbox2d" / f"bbox2d_{number}.json"
        shares = _read_boxes(path) if path.exists() else {}
        return np.array([shares.get(int(key), np.nan) for key in objects], dtype=np.float32)

    def sample(self, index: int) -> Sample:
        """Return image and labels together.

        Raises:
            UserError: a file cannot be read, or the sizes differ.
        """
        return make_sample(self.records[index], self.read_image(index), self.read_labels(index))

    def _read_maps(self, index: int) -> tuple[Int32[np.ndarray, "H W"], UInt8[np.ndarray, "H W"]]:
        """Return the object key of every pixel (the last one: no thing colour) and trainIds."""
        record = self.records[index]
        if not record.labels:
            raise UserError(
                f"labels of {record.sample_id!r} must be opened to be read, got a tree opened "
                f"without labels ({self.root}). Open it with require_labels=True."
            )
        ss_path, panoptic_path = record.labels
        stored = read_colors(
            ss_path, what="ss map", allow={"8-bit gray", "8-bit RGB", "8-bit RGBA"}
        )
        semantic = self._to_train_ids(stored if stored.ndim == 2 else stored[..., 0], ss_path)
        colors = read_colors(panoptic_path, what="panoptic map", allow={"8-bit RGBA", "8-bit RGB"})
        if colors.shape[:2] != semantic.shape:
            raise UserError(
                f"panoptic map must have its ss map's size {semantic.shape}, got "
                f"{colors.shape[:2]} ({panoptic_path}). Restore both files from UrbanSyn."
            )
        return _color_keys(colors), semantic

    def _to_train_ids(
        self, stored: UInt8[np.ndarray, "H W"], path: Path
    ) -> UInt8[np.ndarray, "H W"]:
        """Return trainIds with 255 for unlabelled, whichever ids the file holds."""
        counts = np.bincount(stored.ravel(), minlength=256)
        counts[IGNORE_TRAIN_ID] = 0
        present = np.flatnonzero(counts)
        if len(unknown := present[present > MAX_LABEL_ID]):
            raise UserError(
                f"class id of an ss map must be a trainId (0..18, 19 or 255 unlabelled) or a "
                f"Cityscapes label id (0..{MAX_LABEL_ID}), got {shorten(str(v) for v in unknown)} "
                f"({path}). Restore the file from UrbanSyn."
            )
        if len(present) and present[-1] > _UNLABELLED:
            if not self._said_regular_ids:
                _log.warning("%s holds regular Cityscapes ids, not trainIds: read as such", path)
                self._said_regular_ids = True
            return LABEL_TO_TRAIN_ID[stored]
        table = np.arange(256, dtype=np.uint8)
        table[_UNLABELLED] = IGNORE_TRAIN_ID
        return table[stored]


def _color_keys(colors: UInt8[np.ndarray, "H W C"]) -> Int32[np.ndarray, "H W"]:
    """Return (class, red, green) as one number per pixel; the last number is no thing colour."""
    red, green, blue = (colors[..., channel].astype(np.int32) for channel in range(3))
    keys = (blue - _FIRST_THING) * _CODES + (green << 8 | red)
    keys[(blue < _FIRST_THING) | (blue >= _FIRST_THING + NUM_THINGS)] = NUM_THINGS * _CODES
    return keys


def _object_keys(keys: Int32[np.ndarray, "H W"], semantic: UInt8[np.ndarray, "H W"]) -> np.ndarray:
    """Return the keys whose pixels the semantic map confirms by more than half, sorted."""
    is_thing = keys < NUM_THINGS * _CODES
    things = keys[is_thing]
    totals = np.bincount(things, minlength=NUM_THINGS * _CODES)
    agreeing = things[things // _CODES + _FIRST_THING == semantic[is_thing]]
    agreed = np.bincount(agreeing, minlength=NUM_THINGS * _CODES)
    return np.flatnonzero(2 * agreed > totals)


def _read_boxes(path: Path) -> dict[int, float]:
    """Return the occluded share of every box by object key."""
    try:
        boxes = json.loads(path.read_text(encoding="utf-8"))
        return {
            (blue - _FIRST_THING) * _CODES + (green << 8 | red): float(box["occlusion_percentage"])
            / 100
            for box in boxes
            for red, green, blue in [box["color"][:3]]
        }
    except OSError as error:
        raise UserError(f"bbox2d file must be readable, got {error} ({path}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            "bbox2d file must be a JSON list of boxes with color and occlusion_percentage, got "
            f"{type(error).__name__}: {error} ({path}). Restore the file from UrbanSyn."
        ) from error


def _files_by_number(folder: Path, kind: str, suffix: str) -> dict[str, Path]:
    """Return frame number (its digits) -> file; files of other names are not the data set's."""
    pattern = re.compile(rf"{kind}_(\d+){re.escape(suffix)}")
    return {
        match[1]: Path(entry.path)
        for entry in os.scandir(folder)
        if (match := pattern.fullmatch(entry.name))
    }
