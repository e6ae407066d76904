"""Scores on resamples of the images, for intervals: what would they be on other images of the kind?

A resample takes as many images as there are, with replacement (the bootstrap; Efron and Tibshirani,
1993, chapter 6). Resamples follow from the number of images alone, so networks judged on the same
images are judged on the same resamples, and their difference on every resample is paired.

AP is the Cityscapes protocol's: the trapezoid area under the raw precision-recall points, where a
detection counts as often as its image was drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from uda4inst.atomic import whole_file
from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.evaluation.cityscapes_ap import JudgedClass
from uda4inst.reading import read_arrays

# Beside the predictions files; the star stands for the network.
RESAMPLED_FILES: Final = "*_resampled.npz"
RESAMPLES: Final = 1000
_SEED: Final = 20260


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Scores of one network on every resample, in [0, 1].

    Args:
        overall: of all classes, (resamples, 2) in the order of the task's `measures`.
        by_class: (resamples, classes, 2) in the order of its `class_measures`; nan where a
            resample has nothing to judge.
        images: names of the images, in the order they were judged.
    """

    overall: NDArray[np.float32]
    by_class: NDArray[np.float32]
    images: tuple[str, ...]


def image_resamples(images: int, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """Return how often every image is in every resample, (images, resamples).

    Args:
        images: how many there are, 1 or more.
        resamples: how many resamples.
    """
    rng = np.random.default_rng((_SEED, images))
    return rng.multinomial(images, np.full(images, 1 / images), resamples).T.astype(np.float32)


def resampled_ap(
    classes: Sequence[JudgedClass],
    images: Sequence[str],
    *,
    names: Sequence[str] = THING_NAMES,
    every: Sequence[str] = THING_NAMES,
) -> Resampled:
    """Return AP and AP50 on every resample.

    Args:
        classes: of `CityscapesAP.judged`.
        images: names of the images, in the order they were added.
        names: the classes that are judged; of the others there is nothing, and no part in the mean.
        every: names of all classes.
    """
    by_class = ap_by_class(classes, image_resamples(len(images)))
    by_class[:, [name not in names for name in every]] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample without any object has no mean
        overall = np.nanmean(by_class, axis=1)
    return Resampled(overall, by_class, tuple(images))


def ap_by_class(classes: Sequence[JudgedClass], counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return AP and AP50 of every class on every resample, (resamples, classes, 2).

    Args:
        classes: of `CityscapesAP.judged`.
        counts: how often every image is in every resample, (images, resamples).
    """
    values = np.stack([_class_values(judged, counts) for judged in classes])
    both = np.stack([values.mean(axis=1), values[:, 0]])  # the first threshold is .50
    return both.transpose(2, 1, 0).astype(np.float32)


def resampled_iou(pixels: NDArray[np.int64], images: Sequence[str]) -> Resampled:
    """Return mIoU and pixel accuracy on every resample.

    Args:
        pixels: of every image by (true class, predicted class), (images, classes, classes + 1); the
            last column counts pixels predicted as no class.
        images: names of the images, in the same order.
    """
    count, classes, _ = pixels.shape
    resamples = image_resamples(count).T.astype(np.float64)
    table = (resamples @ pixels.reshape(count, -1)).reshape(-1, classes, classes + 1)
    right = np.diagonal(table, axis1=1, axis2=2)
    there, said = table.sum(axis=2), table[:, :, :classes].sum(axis=1)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        iou, accuracy = right / (there + said - right), right / there
        overall = np.stack([np.nanmean(iou, axis=1), right.sum(1) / there.sum(1)], axis=1)
    by_class = np.stack([iou, accuracy], axis=2)
    return Resampled(overall.astype(np.float32), by_class.astype(np.float32), tuple(images))


def _class_values(judged: JudgedClass, counts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return AP of one class at every threshold on every resample, (thresholds, resamples)."""
    targets = judged.targets @ counts.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        areas = [
            _area(judged, right, wrong, counts)
            for right, wrong in zip(judged.right.T, judged.wrong.T, strict=True)
        ]
        return np.where(targets > 0, np.stack(areas) / targets, np.nan)


def _area(
    judged: JudgedClass,
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    counts: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return AP times targets on every resample, (resamples,).

    Recall grows at the scores of right detections alone, so the curve is taken there: `before` are
    the detections between one such score and the next, `at` those of that very score.
    """
    places = np.unique(-judged.scores[right])
    if not places.size:
        return np.zeros(counts.shape[1])
    kept = right | wrong
    minus, image = -judged.scores[kept], judged.image[kept]
    place = np.searchsorted(places, minus)  # of the score itself, or of the next lower one
    counted = place < len(places)  # below the last right one nothing changes
    minus, image, place, is_right = minus[counted], image[counted], place[counted], right[kept]
    is_right = is_right[counted]
    is_at = places[place] == minus
    shape = (len(places), len(counts))

    def summed(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        ones = np.ones(np.count_nonzero(chosen), dtype=np.float32)
        table = sparse.csr_matrix((ones, (place[chosen], image[chosen])), shape=shape)
        return (table @ counts).astype(np.float64)

    found, at = summed(is_right), summed(is_at)
    after = np.cumsum(summed(~is_at) + at, axis=0)
    found_after = np.cumsum(found, axis=0)
    before, found_before = after - at, found_after - found
    precision_before = np.where(before > 0, found_before / before, 1.0)
    precision_after = np.where(after > 0, found_after / after, 1.0)
    return (0.5 * (precision_before + precision_after) * found).sum(axis=0)


def resampled_path(predictions: Path) -> Path:
    """Return where the scores by resample lie that belong to a network's predictions file."""
    network = predictions.name.partition(".")[0]
    return predictions.with_name(RESAMPLED_FILES.replace("*", network))


def write_resampled(path: Path, values: Resampled) -> None:
    """Write scores by resample, whole or not at all; equal values give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            overall=values.overall,
            by_class=values.by_class,
            images=np.array(values.images),
        )


def read_resampled(path: Path) -> Resampled:
    """Return scores by resample.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        stored = read_arrays(path)
        overall, by_class, images = (stored[n] for n in ("overall", "by_class", "images"))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"scores by resample must be a readable .npz, got {error} ({path}). Evaluate the run "
            "again."
        ) from error
    return Resampled(overall, by_class, tuple(map(str, images)))
