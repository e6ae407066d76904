"""Where predictions are right and wrong, pixel by pixel and image by image (paper, Fig. 5).

Definition. Both sides become one thing class per pixel. *Predicted*: detections with a score above
the threshold are painted in order of score, the surest on top; the rest is background. *True*: the
class of the raw Cityscapes value, objects and groups alike; stuff is background; void pixels
(caravan and trailer instances among them, as in Cityscapes' semantic evaluation) are left out of
everything. A pixel is right where both agree. For one class only pixels that either side gives to
it are looked at.

Every count of an image follows from one confusion matrix, background and every thing both ways, so
an `ErrorIndex` reads the masks once for all classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import NUM_THINGS, RAW_TO_THING, VOID_LABEL_IDS
from uda4inst.colors import BACKGROUND_RIGHT, NOT_OF_INTEREST, RIGHT, VOID, WRONG
from uda4inst.errors import UserError
from uda4inst.evaluation.pixel_pairs import count_pairs
from uda4inst.formats.predictions import OUT_OF_CLASS, ImagePredictions, ScoredMask
from uda4inst.structures import Size

BACKGROUND: Final = 0  # thing index + 1 elsewhere
VOID_CLASS: Final = 255
_THREADS: Final = min(4, os.cpu_count() or 1)

ErrorOrder = Literal["wrong_pixels", "error_share"]


@dataclass(frozen=True, slots=True)
class ClassError:
    """How one image errs on one class, in pixels.

    Args:
        false_positive_pixels: predicted as the class, truly something else.
        false_negative_pixels: truly of the class, predicted as something else.
        right_pixels: both.
    """

    false_positive_pixels: int
    false_negative_pixels: int
    right_pixels: int

    @property
    def wrong_pixels(self) -> int:
        """False positives and false negatives together."""
        return self.false_positive_pixels + self.false_negative_pixels

    @property
    def error_share(self) -> float:
        """Wrong pixels over all pixels looked at (1 - IoU), 0 where the class does not occur."""
        looked_at = self.wrong_pixels + self.right_pixels
        return self.wrong_pixels / looked_at if looked_at else 0.0


def true_classes(instance_ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the true class of every pixel from raw Cityscapes values.

    Returns:
        uint8 (H, W): 0 background, thing index + 1, 255 void.
    """
    return _TRUE_CLASS[instance_ids]


def predicted_classes(
    detections: Iterable[ScoredMask], size: Size, *, score_threshold: float
) -> NDArray[np.uint8]:
    """Return the predicted class of every pixel: detections painted, the surest on top.

    Args:
        detections: in any order; those of no class are skipped.
        size: (height, width).
        score_threshold: only scores above it are painted.

    Returns:
        uint8 (H, W): 0 background, thing index + 1.
    """
    height, width = size
    columns = np.zeros(height * width, dtype=np.uint8)
    kept = (d for d in detections if d.score > score_threshold and d.label != OUT_OF_CLASS)
    for detection in sorted(kept, key=lambda d: d.score):
        columns[detection.positions()] = detection.label + 1
    return np.asarray(cv2.transpose(columns.reshape(width, height)), dtype=np.uint8)


def error_map(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], *, thing: int | None = None
) -> NDArray[np.uint8]:
    """Return the code of every pixel for `draw.error_picture` and `draw.error_overlay`.

    Args:
        predicted: from `predicted_classes`.
        truth: from `true_classes`.
        thing: look at one class only; None looks at all.

    Returns:
        uint8 (H, W) of the codes RIGHT, WRONG, VOID, and for the rest BACKGROUND_RIGHT (all
        classes: background, rightly so) or NOT_OF_INTEREST (one class: neither side has it).
    """
    same = predicted == truth
    if thing is None:
        codes = np.where(same, np.uint8(RIGHT), np.uint8(WRONG))
        codes[same & (truth == BACKGROUND)] = BACKGROUND_RIGHT
    else:
        concerned = (predicted == thing + 1) | (truth == thing + 1)
        codes = np.where(concerned, np.where(same, RIGHT, WRONG), NOT_OF_INTEREST).astype(np.uint8)
    codes[truth == VOID_CLASS] = VOID
    return codes


def confusion(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], *, things: int = NUM_THINGS
) -> NDArray[np.int64]:
    """Return pixel counts (true class, predicted class) without void pixels.

    Args:
        predicted: from `predicted_classes`.
        truth: from `true_classes`.
        things: how many there are; the matrix has one row and column more, for background.
    """
    return count_pairs(truth, predicted)[: things + 1, : things + 1]


def class_error(counts: NDArray[np.int64], thing: int | None = None) -> ClassError:
    """Return the error of one class, or of all things together, from a confusion matrix.

    Args:
        counts: from `confusion`.
        thing: its index; None counts every pixel that either side gives to a thing, once.
    """
    if thing is not None:
        right = int(counts[thing + 1, thing + 1])
        return ClassError(
            false_positive_pixels=int(counts[:, thing + 1].sum()) - right,
            false_negative_pixels=int(counts[thing + 1].sum()) - right,
            right_pixels=right,
        )
    invented = int(counts[BACKGROUND, 1:].sum())
    right = int(np.trace(counts[1:, 1:]))
    # A thing taken for another thing is one wrong pixel: a false negative of what is truly there.
    return ClassError(invented, int(counts[1:].sum()) - right, right)


@dataclass(frozen=True, slots=True, eq=False)
class ErrorIndex:
    """The confusion matrix of every image of a predictions file.

    Args:
        sample_ids: the images, in the file's order.
        counts: (images, things + 1, things + 1), from `confusion`.
        score_threshold: the one the detections were painted with.
    """

    sample_ids: tuple[str, ...]
    counts: NDArray[np.int64]
    score_threshold: float

    def errors(self, thing: int | None = None) -> list[ClassError]:
        """Return the error of every image for one class, or for all things (None)."""
        return [class_error(counts, thing) for counts in self.counts]

    def order(
        self, thing: int | None = None, *, by: ErrorOrder = "wrong_pixels"
    ) -> NDArray[np.intp]:
        """Return image positions, worst first; equal errors keep the file's order.

        Args:
            thing: its index, or None for all things.
            by: "wrong_pixels" puts what one sees most first, "error_share" (1 - IoU) treats small
                objects like large ones.
        """
        keys = [getattr(error, by) for error in self.errors(thing)]
        return np.argsort(-np.array(keys, dtype=np.float64), kind="stable")


def index_errors(
    predictions: Iterable[ImagePredictions],
    read_truth: Callable[[str], NDArray[np.integer]],
    *,
    score_threshold: float,
    things: int = NUM_THINGS,
    progress: Callable[[int, int], None] | None = None,
) -> ErrorIndex:
    """Read every image's masks once and count, in a few threads.

    Args:
        predictions: as `read_predictions` yields them.
        read_truth: returns the raw instance ids of an image by its name.
        score_threshold: only scores above it are painted.
        things: how many classes there are.
        progress: told (images done, images in all).

    Raises:
        UserError: a file cannot be read, or sizes disagree.
    """
    images = list(predictions)

    def count(image: ImagePredictions) -> NDArray[np.int64]:
        truth = true_classes(read_truth(image.sample_id))
        if truth.shape != image.size:
            raise UserError(
                f"predictions must have the annotation's size {truth.shape}, got {image.size} "
                f"({image.sample_id}). Choose the data set they were made on."
            )
        painted = predicted_classes(image.detections, image.size, score_threshold=score_threshold)
        return confusion(painted, truth, things=things)

    counts = np.zeros((len(images), things + 1, things + 1), dtype=np.int64)
    with ThreadPoolExecutor(_THREADS) as threads:
        for place, counted in enumerate(threads.map(count, images)):
            counts[place] = counted
            if progress is not None:
                progress(place + 1, len(images))
    return ErrorIndex(tuple(image.sample_id for image in images), counts, score_threshold)


def _true_class_table() -> NDArray[np.uint8]:
    """Return the class of every raw value."""
    values = np.arange(1 << 17)
    label_ids = np.where(values < 1000, values, values // 1000).clip(max=255)
    table = (RAW_TO_THING[label_ids] + 1).astype(np.uint8)
    table[np.isin(label_ids, VOID_LABEL_IDS)] = VOID_CLASS
    return table


_TRUE_CLASS: Final = _true_class_table()
