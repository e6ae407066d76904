"""Cityscapes instance AP: equal to the bit to the official tool, and fast.

Restates `evalInstanceLevelSemanticLabeling` of cityscapesScripts 2.3.0 (distances off):

- A prediction matches ground truth of its class where IoU > t, for the ten t of
  `numpy.arange(.5, 1, .05)`. Of several on one object the best score is right, the others wrong.
- Objects under 100 pixels and groups (value < 1000) are no targets. A prediction with IoU > t to
  one is dropped.
- An unmatched prediction is dropped when more than the share t of its pixels lies on void, groups
  or small objects (a small group counts twice), and is a false positive otherwise.
- Void are the pixels whose raw value is an ignored label id; caravan and trailer *instances*
  (29xxx, 30xxx) are not.
- Empty masks and other classes are skipped. There is no limit on the number of predictions.
- AP is the trapezoid area under the raw precision-recall points and (1, 0); equal scores are one
  point.

One departure: where a class has ground truth and predictions, but every prediction is excused and
none is right, the official tool ends in an IndexError (cityscapesScripts issue 89); here AP is 0.

The pixels of an image are looked at once: a table of how many pixels every prediction shares with
every segment holds all that ten thresholds need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import (
    BACKGROUND_LABEL_ID,
    EIGHT,
    MAX_LABEL_ID,
    RAW_TO_THING,
    VOID_LABEL_IDS,
    ThingClasses,
)
from uda4inst.evaluation.results import APResult, from_matrix
from uda4inst.formats.predictions import OUT_OF_CLASS, ScoredMask
from uda4inst.formats.rle import foreground, run_lengths

# The official expression, drift included (its third value is 0.6000000000000001).
THRESHOLDS: Final = np.arange(0.5, 1.0, 0.05)
MIN_REGION_PIXELS: Final = 100
INSTANCE_FACTOR: Final = 1000  # a raw value of at least this is label id * 1000 + number

_DROPPED: Final = 0
_RIGHT: Final = 1
_WRONG: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The ground-truth segments of one image.

    Args:
        index: segment number of every pixel.
        values: raw value of every segment, ascending.
        areas: pixels of every segment.
    """

    index: NDArray[np.uint16]
    values: NDArray[np.int64]
    areas: NDArray[np.int64]

    @classmethod
    def of(cls, instance_ids: NDArray[np.integer], things: ThingClasses = EIGHT) -> Segments:
        """Return the segments of a raw instance map.

        Args:
            instance_ids: raw values, (H, W).
            things: the classes there are.

        Raises:
            ValueError: a value is not a label id, label id * 1000 + number, or background's.
        """
        ids = instance_ids.astype(np.intp)
        counts = np.bincount(ids.ravel())
        values = np.flatnonzero(counts)
        label_ids = _label_ids(values)
        highest = MAX_LABEL_ID + len(things.own)
        is_unknown = (label_ids > highest) & (values != BACKGROUND_LABEL_ID)
        if is_unknown.any():
            unknown = values[is_unknown][:5].tolist()
            raise ValueError(
                f"instance ids must be a label id 0..{highest} or id * 1000 + number, "
                f"got {unknown}."
            )
        table = np.zeros(len(counts), dtype=np.uint16)  # small types: less memory to walk
        table[values] = np.arange(len(values))
        return cls(table.take(ids), values, counts[values])

    @property
    def things(self) -> NDArray[np.int64]:
        """Thing index of every segment, -1 for the rest."""
        return RAW_TO_THING[_label_ids(self.values)]

    @property
    def void(self) -> NDArray[np.bool_]:
        """Which segments are void, by raw value."""
        return np.isin(self.values, VOID_LABEL_IDS)


def _label_ids(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the Cityscapes label id of raw instance values."""
    return np.where(values < INSTANCE_FACTOR, values, values // INSTANCE_FACTOR)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedClass:
    """What became of the detections of one class, over images in the order they were added.

    Args:
        image: number of the image of every detection.
        scores: higher is surer.
        right: (N, thresholds), the best detection of an object.
        wrong: (N, thresholds), false positives; what is neither is dropped.
        targets: (images,), objects to find.
    """

    image: NDArray[np.int64]
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    targets: NDArray[np.int64]


@dataclass(slots=True, eq=False)
class _ClassRecord:
    """What one class needs of all images: scores, their fate per threshold, targets."""

    scores: list[NDArray[np.float64]] = field(default_factory=list)
    fates: list[NDArray[np.int8]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)  # of every part of the two above
    targets: list[int] = field(default_factory=list)  # an image


class CityscapesAP:
    """Cityscapes instance AP over a growing set of images.

    Memory grows by 18 bytes a prediction. Accumulators that saw different images can be merged;
    the result does not depend on order.

    Args:
        things: the classes that are judged.
    """

    def __init__(self, things: ThingClasses = EIGHT) -> None:
        self.things: Final = things
        self._classes = [_ClassRecord() for _ in range(len(things))]

    def add(self, gt_ids: NDArray[np.integer], predictions: Sequence[ScoredMask]) -> None:
        """Take in one image.

        Args:
            gt_ids: raw values of its `instanceIds` file, (H, W).
            predictions: any number, overlapping allowed; empty and out-of-class ones are skipped.

        Raises:
            ValueError: a raw value is no Cityscapes id, or a mask has another size.
        """
        segments = Segments.of(gt_ids, self.things)
        overlaps, kept = _overlaps(segments, predictions)
        labels = np.array([predictions[i].label for i in kept], dtype=np.int64)
        scores = np.array([predictions[i].score for i in kept], dtype=np.float64)
        void_pixels = overlaps[:, segments.void].sum(axis=1)
        areas = overlaps.sum(axis=1)
        for thing, record in enumerate(self._classes):
            columns = np.flatnonzero(segments.things == thing)
            rows = np.flatnonzero(labels == thing)
            values, sizes = segments.values[columns], segments.areas[columns]
            group, small = values < INSTANCE_FACTOR, sizes < MIN_REGION_PIXELS
            number = len(record.targets)
            record.targets.append(int(np.count_nonzero(~group & ~small)))
            if rows.size:
                shared = overlaps[np.ix_(rows, columns)]
                excused = void_pixels[rows] + shared[:, group].sum(1) + shared[:, small].sum(1)
                record.images.append(number)
                record.scores.append(scores[rows])
                record.fates.append(
                    _fates(
                        scores[rows],
                        iou=shared / (sizes + areas[rows, None] - shared),
                        excused_share=excused / areas[rows],
                        target=~group & ~small,
                    )
                )

    def merge(self, other: CityscapesAP) -> None:
        """Take in everything another accumulator saw."""
        for mine, theirs in zip(self._classes, other._classes, strict=True):
            mine.images.extend(len(mine.targets) + number for number in theirs.images)
            mine.scores.extend(theirs.scores)
            mine.fates.extend(theirs.fates)
            mine.targets.extend(theirs.targets)

    def judged(self) -> list[JudgedClass]:
        """Return what became of every detection, by thing class."""
        return [_judged(record) for record in self._classes]

    def matrix(self) -> NDArray[np.float64]:
        """Return AP per class and threshold, (classes, 10); nan where there is no ground truth."""
        rows = [_class_ap(record) for record in self._classes]
        return np.stack(rows)

    def result(self) -> APResult:
        """Return the averages over everything added so far."""
        return from_matrix(self.matrix(), self.things.names)


def _overlaps(
    segments: Segments, predictions: Sequence[ScoredMask]
) -> tuple[NDArray[np.int64], list[int]]:
    """Return pixels shared by prediction and segment, and which predictions take part."""
    rows: list[NDArray[np.int64]] = []
    kept: list[int] = []
    along_columns = cv2.transpose(segments.index).ravel()  # the order of run-length codes
    for number, prediction in enumerate(predictions):
        if prediction.label == OUT_OF_CLASS:
            continue
        if prediction.size != segments.index.shape:
            raise ValueError(
                f"mask must have the ground truth's size {segments.index.shape}, got "
                f"{prediction.size} (prediction {number})."
            )
        if isinstance(prediction.mask, np.ndarray):
            inside = segments.index[prediction.mask]
        else:
            inside = along_columns[foreground(run_lengths(prediction.mask))]
        if inside.size:
            rows.append(np.bincount(inside, minlength=len(segments.values)))
            kept.append(number)
    if not rows:
        return np.zeros((0, len(segments.values)), dtype=np.int64), []
    return np.stack(rows), kept


def _fates(
    scores: NDArray[np.float64],
    *,
    iou: NDArray[np.float64],
    excused_share: NDArray[np.float64],
    target: NDArray[np.bool_],
) -> NDArray[np.int8]:
    """Return right, wrong or dropped for every prediction and threshold."""
    over = iou[:, :, None] > THRESHOLDS
    matched = over.any(axis=1)
    fates = np.full(matched.shape, _DROPPED, dtype=np.int8)
    fates[~matched & (excused_share[:, None] <= THRESHOLDS)] = _WRONG
    on_target = over[:, target]
    fates[on_target.any(axis=1)] = _WRONG
    ranked = np.where(on_target, scores[:, None, None], -np.inf)
    target_index, threshold_index = np.nonzero(on_target.any(axis=0))
    best = ranked.argmax(axis=0)[target_index, threshold_index]
    fates[best, threshold_index] = _RIGHT
    return fates


def _judged(record: _ClassRecord) -> JudgedClass:
    """Return the record as arrays."""
    fates = np.concatenate([np.zeros((0, len(THRESHOLDS)), np.int8), *record.fates])
    return JudgedClass(
        image=np.repeat(record.images, [len(part) for part in record.scores]).astype(np.int64),
        scores=np.concatenate([np.zeros(0), *record.scores]),
        right=fates == _RIGHT,
        wrong=fates == _WRONG,
        targets=np.array(record.targets, dtype=np.int64),
    )


def _class_ap(record: _ClassRecord) -> NDArray[np.float64]:
    """Return AP at every threshold; nan without targets."""
    targets = sum(record.targets)
    if not targets:
        return np.full(len(THRESHOLDS), np.nan)
    if not record.scores:
        return np.zeros(len(THRESHOLDS))
    scores = np.concatenate(record.scores)
    fates = np.concatenate(record.fates)
    order = np.argsort(scores, kind="stable")
    scores, fates = scores[order], fates[order]
    return np.array(
        [_average_precision(scores[column != _DROPPED], column, targets) for column in fates.T]
    )


def _average_precision(scores: NDArray[np.float64], fates: NDArray[np.int8], targets: int) -> float:
    """Return the area under the curve of sorted scores; the official arithmetic, step by step."""
    if not scores.size:
        return 0.0  # the official tool ends in an IndexError here
    right = (fates[fates != _DROPPED] == _RIGHT).astype(np.float64)
    missed_by_all = targets - right.sum()
    first = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
    below = np.append(0.0, np.cumsum(right))[first]
    true_positives = right.sum() - below
    false_positives = len(right) - first - true_positives
    precision = np.append(true_positives / (true_positives + false_positives), 1.0)
    recall = np.append(true_positives / (true_positives + below + missed_by_all), 0.0)
    padded = np.concatenate((recall[:1], recall, [0.0]))
    widths = np.convolve(padded, [-0.5, 0, 0.5], "valid")
    return float(np.dot(precision, widths))
