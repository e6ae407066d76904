"""IoU of the eight thing classes over pixels, everything else being one class, "other".

By it a network of instances stands beside one of semantic maps. Its detections are painted, the
surest on top, and what nothing is painted on is other; the semantic network's stuff is other. Both
are judged on the pixels that Cityscapes' semantic evaluation judges, pooled over all images. A
class's IoU is the same whether the others are one class or eleven, so that of a semantic network is
what it is over all 19.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, NUM_THINGS, THING_CLASSES, THING_NAMES
from uda4inst.evaluation.error_maps import BACKGROUND, VOID_CLASS, predicted_classes
from uda4inst.evaluation.found import SCORE
from uda4inst.evaluation.pixel_pairs import count_pairs
from uda4inst.formats.predictions import ScoredMask

PROTOCOL: Final = "thing_pixels"
MEASURES: Final = ("mIoU", "accuracy")
CLASS_MEASURES: Final = ("IoU", "accuracy")
OTHER: Final = "other"
_CLASSES: Final = NUM_THINGS + 1


class ThingPixels:
    """Pixels over a growing set of images.

    Detections count above a score of .5, the project's score for what is found: painted all, those
    of next to no score would cover whatever the sure ones leave.

    Attributes:
        counts: pixels by (true class, predicted class), (9, 9): 0 other, thing index + 1.
    """

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        empty = np.zeros((_CLASSES, _CLASSES), dtype=np.int64)
        self.counts: NDArray[np.int64] = empty if counts is None else counts

    def add(self, truth: NDArray[np.uint8], detections: Iterable[ScoredMask]) -> None:
        """Take in one image.

        Args:
            truth: trainIds, 255 ignore (left out of everything), (H, W).
            detections: of the image's size, in any order.

        Raises:
            ValueError: a mask has another size.
        """
        size = (int(truth.shape[0]), int(truth.shape[1]))
        detections = tuple(detections)
        for number, detection in enumerate(detections):
            if detection.size != size:
                raise ValueError(
                    f"mask must have the ground truth's size {size}, got {detection.size} "
                    f"(prediction {number})."
                )
        painted = predicted_classes(detections, size, score_threshold=SCORE)
        pairs = count_pairs(np.asarray(cv2.LUT(truth, _NUMBER), dtype=np.uint8), painted)
        self.counts += pairs[:_CLASSES, :_CLASSES]

    def merge(self, other: ThingPixels) -> None:
        """Take in everything another accumulator saw."""
        self.counts += other.counts

    def to_json(self, classes: Sequence[str] = THING_NAMES) -> dict[str, Any]:
        """Return mean IoU, pixel accuracy, both by class, and the confusion matrix.

        Args:
            classes: the ones the network answers for; the other things are other to it, and null.
        """
        numbers = [k + 1 if name in classes else BACKGROUND for k, name in enumerate(THING_NAMES)]
        counts = _merged(self.counts, [BACKGROUND, *numbers])
        right, there = np.diagonal(counts), counts.sum(axis=1)
        union = there + counts.sum(axis=0) - right
        per_class = {
            name: None
            if number == BACKGROUND or not union[number]
            else {
                "IoU": float(right[number] / union[number]),
                "accuracy": float(right[number] / there[number]) if there[number] else None,
            }
            for name, number in zip(THING_NAMES, numbers, strict=True)
        }
        found = [value["IoU"] for value in per_class.values() if value is not None]
        total = int(counts.sum())
        return {
            "mIoU": float(np.mean(found)) if found else None,
            "accuracy": float(right.sum() / total) if total else None,
            "per_class": per_class,
            "score": SCORE,
            "confusion": {"classes": [OTHER, *THING_NAMES], "pixels": self.counts.tolist()},
        }


def things_of(counts: NDArray[np.int64]) -> ThingPixels:
    """Return the same of a semantic network.

    Args:
        counts: pixels by (true class, predicted class), (19, 20); the last column counts pixels
            predicted as no class.
    """
    numbers = _NUMBER[: counts.shape[1]].copy()
    numbers[counts.shape[0] :] = BACKGROUND
    square = np.zeros((counts.shape[1],) * 2, dtype=np.int64)
    square[: counts.shape[0]] = counts
    return ThingPixels(_merged(square, numbers.tolist()))


def _merged(counts: NDArray[np.int64], numbers: Sequence[int]) -> NDArray[np.int64]:
    """Return counts (9, 9) of a square matrix whose k-th class becomes number k."""
    belongs = np.zeros((_CLASSES, len(counts)), dtype=np.int64)
    belongs[list(numbers), np.arange(len(counts))] = 1
    return belongs @ counts @ belongs.T


def _number_table() -> NDArray[np.uint8]:
    """Return the number of every trainId: thing index + 1, 0 other, 255 void."""
    table = np.full(256, BACKGROUND, dtype=np.uint8)
    for number, thing in enumerate(THING_CLASSES, start=1):
        table[thing.train_id] = number
    table[IGNORE_TRAIN_ID] = VOID_CLASS
    return table


_NUMBER: Final = _number_table()
