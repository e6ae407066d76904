"""Semantic segmentation scores: IoU per class from one confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES

CLASS_NAMES: Final[tuple[str, ...]] = tuple(c.name for c in SEMANTIC_CLASSES)
_CLASSES: Final = len(SEMANTIC_CLASSES)


class SemanticScores:
    """IoU over a growing set of images, pixels pooled over all of them as in Cityscapes.

    Attributes:
        counts: pixels by (true class, predicted class), trainIds 0..18; the last column counts
            pixels predicted as no class.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros((_CLASSES, _CLASSES + 1), dtype=np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Take in one image.

        Args:
            truth: trainIds, 255 ignore (left out of everything), (H, W).
            predicted: trainIds, 255 for no class (wrong wherever there is a true class).

        Raises:
            ValueError: sizes differ, or a value is neither a trainId nor 255.
        """
        if truth.shape != predicted.shape:
            raise ValueError(
                f"predicted must have the truth's size {truth.shape}, got {predicted.shape}."
            )
        for name, ids in (("truth", truth), ("predicted", predicted)):
            if bad := np.unique(ids[(ids >= _CLASSES) & (ids != IGNORE_TRAIN_ID)]).tolist():
                raise ValueError(f"{name} must hold trainIds 0..{_CLASSES - 1} or 255, got {bad}.")
        seen = truth != IGNORE_TRAIN_ID
        columns = np.minimum(predicted[seen], _CLASSES).astype(np.intp)
        pairs = truth[seen].astype(np.intp) * (_CLASSES + 1) + columns
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: SemanticScores) -> None:
        """Take in everything another accumulator saw."""
        self.counts += other.counts

    def iou(self) -> dict[str, float | None]:
        """Return IoU per class in [0, 1]; None for classes neither there nor predicted."""
        right = np.diagonal(self.counts)
        union = self.counts.sum(axis=1) + self.counts[:, :_CLASSES].sum(axis=0) - right
        return {
            name: float(right[i] / union[i]) if union[i] else None
            for i, name in enumerate(CLASS_NAMES)
        }

    def miou(self, names: Sequence[str] = CLASS_NAMES) -> float | None:
        """Return the mean IoU over some classes, all 19 by default.

        Classes neither there nor predicted are left out; None where none is left.

        Raises:
            ValueError: a name is not one of the 19.
        """
        if unknown := [name for name in names if name not in CLASS_NAMES]:
            raise ValueError(f"names must be among {', '.join(CLASS_NAMES)}, got {unknown}.")
        iou = self.iou()
        found = [value for name in names if (value := iou[name]) is not None]
        return float(np.mean(found)) if found else None

    def to_json(self) -> dict[str, Any]:
        """Return mIoU and IoU per class as JSON holds them."""
        return {"mIoU": self.miou(), "per_class": self.iou()}
