"""Where semantic maps are right and wrong, in the terms of `error_maps`.

Classes are numbered with the things first, so that "car" is one number for instances and for
semantic maps. Every class is judged, stuff as well; 0 is what is predicted as no class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.errors import UserError
from uda4inst.evaluation.error_maps import VOID_CLASS, ErrorIndex
from uda4inst.evaluation.pixel_pairs import count_pairs

_ORDERED: Final = tuple(sorted(SEMANTIC_CLASSES, key=lambda c: (not c.is_thing, c.train_id)))
ERROR_CLASSES: Final[tuple[str, ...]] = tuple(c.name for c in _ORDERED)
TRAIN_IDS: Final[tuple[int, ...]] = tuple(c.train_id for c in _ORDERED)
_COUNT: Final = len(_ORDERED) + 1


def class_numbers(train_ids: NDArray[np.uint8], *, ignore: int = VOID_CLASS) -> NDArray[np.uint8]:
    """Return index in `ERROR_CLASSES` + 1 of every pixel.

    Args:
        train_ids: 0..18, 255.
        ignore: what 255 becomes: void in annotation, 0 (no class) in predictions.
    """
    table = np.full(256, ignore, dtype=np.uint8)
    table[list(TRAIN_IDS)] = np.arange(1, _COUNT)
    table[IGNORE_TRAIN_ID] = ignore
    return np.asarray(cv2.LUT(train_ids, table), dtype=np.uint8)


def index_semantic_errors(
    names: Sequence[str],
    read_predicted: Callable[[str], NDArray[np.uint8]],
    read_truth: Callable[[str], NDArray[np.uint8]],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ErrorIndex:
    """Count right and wrong pixels of every image by class.

    Args:
        names: of the images.
        read_predicted: trainIds of an image, 255 for no class.
        read_truth: trainIds of an image, 255 ignore.
        progress: told (images done, images in all).

    Raises:
        UserError: a file cannot be read, or sizes disagree.
    """
    counts = np.zeros((len(names), _COUNT, _COUNT), dtype=np.int64)
    for place, name in enumerate(names):
        predicted, truth = read_predicted(name), read_truth(name)
        if truth.shape != predicted.shape:
            raise UserError(
                f"predictions must have the annotation's size {truth.shape}, got "
                f"{predicted.shape} ({name}). Choose the data set they were made on."
            )
        pairs = count_pairs(truth, predicted)
        counts[place, 1:] = pairs[list(TRAIN_IDS)][:, [IGNORE_TRAIN_ID, *TRAIN_IDS]]
        if progress is not None:
            progress(place + 1, len(names))
    return ErrorIndex(tuple(names), counts, score_threshold=0.0)
