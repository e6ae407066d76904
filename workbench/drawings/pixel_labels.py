"""What a confidence threshold keeps of a snapshot's pseudo-labels of pixels; maps as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.draw import display_size, overlay_semantic
from uda4inst.run_folder.snapshot_reader import PixelLabelImage, SemanticImage

Image = NDArray[np.uint8]
_CLASSES: Final = len(SEMANTIC_CLASSES)
_FULL: Final = 255  # of a probability or weight as snapshots keep it


@dataclass(frozen=True, slots=True, eq=False)
class PixelTrial:
    """What becomes of every pixel's pseudo-label at a threshold, and what did in training.

    Args:
        threshold: the confidence tried.
        kept: at least as sure.
        learned: training learned it, with whatever weight.
        weight: what the learned pixels counted on average, 0..1.
    """

    threshold: float
    kept: NDArray[np.bool_]
    learned: NDArray[np.bool_]
    weight: float


def try_confidence(
    chosen: float | None, labels: PixelLabelImage, *, own: float | None
) -> PixelTrial:
    """Return what the chosen threshold keeps.

    Args:
        chosen: a confidence; None for the training's own, or .5 where it has none.
        labels: of one image.
        own: the training's threshold.
    """
    threshold = chosen if chosen is not None else own if own is not None else 0.5
    learned = labels.learned.train_ids != IGNORE_TRAIN_ID
    weight = labels.learned.weight
    counting = np.full_like(labels.best, _FULL) if weight is None else weight
    mean = float(counting[learned].mean()) / _FULL if learned.any() else 0.0
    return PixelTrial(threshold, labels.confidence >= threshold * _FULL, learned, mean)


def picture(labels: PixelLabelImage, trial: PixelTrial) -> Image:
    """Return the target image with the classes of kept pixels; the others are dimmed."""
    shown = np.where(trial.kept, labels.best, IGNORE_TRAIN_ID).astype(np.uint8)
    return overlay_semantic(labels.learned.image, shown)


def areas(labels: PixelLabelImage, which: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of the image that some pixels of every class take, (19,)."""
    counts = np.bincount(labels.best[which], minlength=_CLASSES)[:_CLASSES]
    return counts / labels.best.size


def kept_curve(labels: PixelLabelImage, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the image that every class keeps, at every threshold, (T, 19)."""
    return np.stack([areas(labels, labels.confidence >= t * _FULL) for t in thresholds])


def weight_map(shown: SemanticImage) -> Image:
    """Return how much each pixel counts in the loss: black for nothing, white for 1."""
    weight = shown.weight
    return gray_map(np.full_like(shown.train_ids, _FULL) if weight is None else weight)


def gray_map(values: Image) -> Image:
    """Return a map of 0..255 as a picture, enlarged without smoothing."""
    height, width = display_size((values.shape[0], values.shape[1]))
    large = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.repeat(np.asarray(large, dtype=np.uint8)[..., None], 3, axis=-1)
