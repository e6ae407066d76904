"""Labels as a Cityscapes `instanceIds` file has them."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Int32

from uda4inst.classes import EIGHT, TRAIN_ID_TO_LABEL, ThingClasses
from uda4inst.data.records import ImageRecord, LabelArrays
from uda4inst.errors import UserError

_NUMBERS: Final = 1000  # raw id = label id * 1000 + number


def to_instance_ids(
    labels: LabelArrays, record: ImageRecord, things: ThingClasses = EIGHT
) -> Int32[np.ndarray, "H W"]:
    """Return labels as such a file has them; `ImageTree.read_instance_ids` says how.

    Args:
        labels: of one image.
        record: its files, for messages.
        things: the classes; own ones get the label ids behind Cityscapes', which no file can hold.

    Raises:
        UserError: a class has more than 1,000 objects.
    """
    counts = np.bincount(labels.labels, minlength=len(things))
    if counts.max() > _NUMBERS:
        raise UserError(
            f"an image must have at most {_NUMBERS} objects of a class, got {counts.max()} "
            f"({record.image}). Filter small objects out (min_area)."
        )
    numbers = np.zeros_like(labels.labels)
    for thing in range(len(things)):
        mine = labels.labels == thing
        numbers[mine] = np.arange(mine.sum())
    raw = (things.label_ids[labels.labels] * _NUMBERS + numbers).astype(np.int32)
    table = np.concatenate((np.zeros(1, np.int32), raw))
    plain = TRAIN_ID_TO_LABEL[labels.semantic].astype(np.int32)
    return np.where(labels.ids > 0, table[np.maximum(labels.ids, 0)], plain)
