"""GTA5 trees: images and palette label maps, semantic classes only.

Decisions where the format leaves room:

- A label map's palette index is the Cityscapes label id, 0..34; its colours are for people. 34 has
  no class.
- Copies differ in which frames they hold. Frames with both files make the data set; what lacks its
  partner is counted in one line of the log.
- There are no instances. Every thing pixel is ignore, id -1: there are objects, nobody says which.
- Some label maps are said to differ in size from their image; reading one is an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, LABEL_TO_TRAIN_ID
from uda4inst.data.files.images import picture_size
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.files.png import read_map
from uda4inst.data.records import (
    ImageRecord,
    LabelArrays,
    check_same_size,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts, require_whole
from uda4inst.errors import UserError
from uda4inst.structures import IGNORE_ID

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"([0-9]+)\.png")
_MAX_ID: Final = 34
_FIRST_THING: Final = 11  # trainId of person; things are 11..18
_UNKNOWN: Final = 254  # no trainId
_GET: Final = (
    "Unpack images and labels of GTA5 (download.visinf.tu-darmstadt.de) there, so that it holds "
    "the folders images and labels."
)


class GTA5(ImageTree):
    """A GTA5 tree; the root holds `images` and `labels`.

    The split is "train", which is everything.
    """

    name = "GTA5"
    usual_domain = "source"
    has_instances = False
    things = ()

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        require_whole(self.name, self.split, self.root)
        require_folder(self.root, rule="root must be a GTA5 folder", remedy=_GET)
        kinds = ("images", "labels") if require_labels else ("images",)
        for kind in kinds:
            require_folder(self.root / kind, rule=f"root must hold the folder {kind}", remedy=_GET)
        files = [_files_by_number(index, kind) for kind in kinds]
        common = files[0].keys() & files[-1].keys()
        if not common:
            partner = " with a label map of the same name" if require_labels else ""
            raise UserError(
                f"root must hold images named 00001.png{partner}, got none "
                f"({self.root / 'images'}). {_GET}"
            )
        if alone := sorted((files[0].keys() | files[-1].keys()) - common):
            _log.info("%s: %d frames lack a file: %s", self.root, len(alone), shorten(alone))
        for number in sorted(common, key=lambda digits: (int(digits), digits)):
            image, *labels = (found[number] for found in files)
            yield ImageRecord(number, image, tuple(labels), self.domain)

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return the semantic map, with things ignored and no instances."""
        semantic = self._read_semantic(record)
        is_thing = (semantic >= _FIRST_THING) & (semantic != IGNORE_TRAIN_ID)
        ids = np.where(is_thing, np.int32(IGNORE_ID), np.int32(0))
        return LabelArrays(ids=ids, labels=np.zeros(0, np.int64), semantic=semantic), None

    def _read_semantic(self, record: ImageRecord) -> UInt8[np.ndarray, "H W"]:
        """Return the semantic map, without making an id map."""
        (path,) = record.labels
        raw = read_map(path, what="label map", allow={"palette", "8-bit gray"})
        check_same_size(record, picture_size(record.image), raw.shape)
        semantic = np.asarray(cv2.LUT(raw, _TRAIN_IDS))
        if len(unknown := np.unique(raw[semantic == _UNKNOWN])):
            raise UserError(
                f"label id must lie in [0, {_MAX_ID}], got {shorten(str(v) for v in unknown)} "
                f"({path}). Restore the file from GTA5."
            )
        return semantic


def _train_ids() -> UInt8[np.ndarray, " 256"]:
    """Return label id -> trainId with a mark where the id is in no table."""
    table = LABEL_TO_TRAIN_ID.copy()
    table[_MAX_ID + 1 :] = _UNKNOWN
    return table


_TRAIN_IDS: Final = _train_ids()


def _files_by_number(index: FileIndex, kind: str) -> dict[str, str]:
    """Return frame number (its digits) -> file; files of other names are not the data set's."""
    folder = str(index.root / kind)
    return {
        match[1]: f"{folder}/{name}"
        for name in index.files(kind)
        if (match := _NAME.fullmatch(name))
    }
