"""KITTI-360 trees: the frames its split files name, byte for byte.

Decisions where the format leaves room:

- The split files say what belongs to a split. More frames have pictures than labels, so folders
  are not asked. Every file a split names has to be there.
- An instance map's value is always class * 1000 + number, below 1000 too: unlike in Cityscapes a
  plain value is no group. Objects are kept for the eight thing classes; buildings, poles and signs,
  which have numbers here, are stuff.
- Thing pixels with number 0, and pixels the semantic map calls a thing but no object owns, become
  ignore, id -1.
- Of the ids Cityscapes does not have, garage (34) is building, gate (35) is fence and small pole
  (37) is pole; 36 and 38..44 have no class, 255.
- The confidence maps are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from uda4inst.classes import LABEL_TO_THING, LABEL_TO_TRAIN_ID
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.files.png import read_map
from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.data.records import (
    FileFault,
    ImageRecord,
    LabelArrays,
    TreeError,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts
from uda4inst.errors import UserError
from uda4inst.reading import read_text
from uda4inst.structures import IGNORE_ID

_SPLITS: Final = ("train", "val")
_SPLIT_FILE: Final = "data_2d_semantics/train/2013_05_28_drive_{split}_frames.txt"
# "<picture> <semantic map>", both of one drive, camera and frame.
_LINE: Final = re.compile(
    r"(?P<images>data_2d_raw/(?P<drive>\d{4}_\d{2}_\d{2}_drive_(?P<sequence>\d{4})_sync)"
    r"/image_(?P<camera>\d{2})/data_rect)/(?P<frame>\d{10})\.png"
    r"\s+(?P<labels>data_2d_semantics/\w+/(?P=drive)/image_(?P=camera))/semantic/(?P=frame)\.png"
)
_NUMBERS: Final = 1000
_MAX_ID: Final = 44
_FIRST_THING: Final = 11  # trainId of person; things are 11..18
_EXTRA_TRAIN_IDS: Final = {34: 2, 35: 4, 37: 5}
_UNKNOWN: Final = 254  # no trainId
_Folders = tuple[str, str, str]
_GET: Final = (
    "Download the 2D semantics and the perspective images of KITTI-360 from "
    "cvlibs.net/datasets/kitti-360 there."
)


class Kitti360(ImageTree):
    """One split of a KITTI-360 tree; the root holds `data_2d_raw` and `data_2d_semantics`.

    The split is "train" or "val", as the data set's split files have it. Opened without labels,
    the label folders are never looked at, but the split file, which lies beside them, is read.
    """

    name = "KITTI-360"
    usual_domain = "target"

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        if self.split not in _SPLITS:
            raise UserError(
                f"split must be one of {', '.join(_SPLITS)}, got {self.split!r} ({self.root}). "
                "Choose one of these; the test images have no split file."
            )
        require_folder(self.root, rule="root must be a KITTI-360 folder", remedy=_GET)
        path = self.root / _SPLIT_FILE.format(split=self.split)
        frames = sorted(_read_split(path), key=lambda frame: frame.sample_id)
        frames = _with_files(frames, index, path, kinds=3 if require_labels else 1)
        root = str(self.root)
        for frame in frames:
            image, semantic, instance = frame.folders
            labels = (f"{root}/{semantic}/{frame.file}", f"{root}/{instance}/{frame.file}")
            kept = labels if require_labels else ()
            yield ImageRecord(frame.sample_id, f"{root}/{image}/{frame.file}", kept, self.domain)

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return instances in order of their raw values; nothing is known about them beside."""
        semantic_path, instance_path = record.labels
        semantic = _read_semantic_map(semantic_path)
        runs = RunLengths.of(read_map(instance_path, what="instance map", allow={"16-bit gray"}))
        if runs.size != semantic.shape:
            raise UserError(
                f"instance map must have its semantic map's size {semantic.shape}, got "
                f"{runs.size} ({instance_path}). Restore both files from one archive."
            )
        classes, numbers = np.divmod(runs.present.astype(np.int64), _NUMBERS)
        _check_ids(np.unique(classes[classes > _MAX_ID]), instance_path, "instance map / 1000")
        things = LABEL_TO_THING[classes]
        is_object = (things >= 0) & (numbers > 0)
        unnumbered = (things >= 0) & (numbers == 0)
        new_ids = np.where(unnumbered, IGNORE_ID, np.where(is_object, is_object.cumsum(), 0))
        ids = runs.paint(new_ids.astype(np.int32))
        ids[(ids == 0) & (semantic >= _FIRST_THING) & (semantic < _UNKNOWN)] = IGNORE_ID
        return LabelArrays(ids=ids, labels=things[is_object], semantic=semantic), None

    def _read_semantic(self, record: ImageRecord) -> UInt8[np.ndarray, "H W"]:
        """Read the semantic map alone."""
        return _read_semantic_map(record.labels[0])


@dataclass(frozen=True, slots=True)
class _Frame:
    """One line of a split file.

    Args:
        sample_id: sequence, camera and frame.
        folders: of the picture, the semantic map and the instance map, from the root; one tuple
            for all frames of a drive and camera.
        file: the name the file has in each.
    """

    sample_id: str
    folders: _Folders
    file: str


def _read_split(path: Path) -> Iterator[_Frame]:
    """Return the frames of a split file; blank lines and a byte order mark are no matter."""
    try:
        lines = read_text(path, encoding="utf-8-sig").splitlines()
    except OSError as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"split file must be readable, got {got} ({path}). {_GET}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"split file must be text, got {error} ({path}). {_GET}") from error
    malformed: list[str] = []
    seen: set[str] = set()
    folders: dict[str, _Folders] = {}
    frames: list[_Frame] = []
    for number, line in enumerate(lines, start=1):
        if not (text := line.strip()):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            malformed.append(f"line {number} {text[:200]!r}")
            continue
        frame = _parse(match, folders)
        if frame.sample_id in seen:
            malformed.append(f"line {number} again {frame.sample_id}")
        seen.add(frame.sample_id)
        frames.append(frame)
    if malformed or not frames:
        got = f"{len(malformed)} others: {shorten(malformed, separator='; ')}"
        raise UserError(
            "split file must have lines '<picture> <semantic map>' of one drive, camera and "
            f"frame, each once, got {got if malformed else 'none'} ({path}). {_GET}"
        )
    return iter(frames)


def _parse(match: re.Match[str], known: dict[str, _Folders]) -> _Frame:
    """Return the frame of a line; folders are made once and kept in `known`."""
    images, sequence, camera, frame, labels = match.group(
        "images", "sequence", "camera", "frame", "labels"
    )
    if (folders := known.get(images)) is None:
        folders = known[images] = (images, f"{labels}/semantic", f"{labels}/instance")
    return _Frame(f"{sequence}_{camera}_{frame}", folders, f"{frame}.png")


def _with_files(
    frames: list[_Frame], index: FileIndex, split_file: Path, *, kinds: int
) -> list[_Frame]:
    """Return the frames, without those of which the index leaves a file out.

    Raises:
        TreeError: files are not there, from the listings of their folders.
    """
    wanted: dict[_Folders, set[str]] = {}
    for frame in frames:
        wanted.setdefault(frame.folders, set()).add(frame.file)
    lost: list[str] = []
    for folders, names in sorted(wanted.items()):
        for folder in folders[:kinds]:
            there = index.files(folder) if (index.root / folder).is_dir() else ()
            lost += (f"{folder}/{name}" for name in sorted(names.difference(there)))
    missing = [file for file in lost if not index.leaves_out(index.root / file)]
    if missing:
        message = "file of a frame in the split file must be there, got no such file"
        raise TreeError(
            f"every file of the {len(frames)} frames of the split must be there, got "
            f"{len(missing)} missing in {index.root}: {shorten(missing)} ({split_file}). "
            f"{_GET} Or take the frames you do not have out of the split file.",
            [FileFault("missing", index.root / file, message) for file in missing],
        )
    if not lost:
        return frames
    gone = set(lost)
    return [f for f in frames if gone.isdisjoint(f"{name}/{f.file}" for name in f.folders[:kinds])]


def _train_ids() -> UInt8[np.ndarray, " 256"]:
    """Return id -> trainId with a mark where the id is in no table."""
    table = LABEL_TO_TRAIN_ID.copy()
    for label_id, train_id in _EXTRA_TRAIN_IDS.items():
        table[label_id] = train_id
    table[_MAX_ID + 1 :] = _UNKNOWN
    return table


_TRAIN_IDS: Final = _train_ids()


def _read_semantic_map(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Return the trainIds of a semantic map."""
    raw = read_map(path, what="semantic map", allow={"8-bit gray"})
    semantic = np.asarray(cv2.LUT(raw, _TRAIN_IDS))
    _check_ids(np.unique(raw[semantic == _UNKNOWN]), path, "semantic map")
    return semantic


def _check_ids(unknown: np.ndarray, path: Path, what: str) -> None:
    """Raise for values whose class is not in KITTI-360's label table."""
    if len(unknown):
        raise UserError(
            f"class id ({what}) must lie in [0, {_MAX_ID}], got "
            f"{shorten(str(v) for v in unknown)} ({path}). Restore the file from KITTI-360."
        )
