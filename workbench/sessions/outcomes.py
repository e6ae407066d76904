"""What becomes of every detection and every object of an image, and what kind of error it is.

Right, wrong and dropped are the protocols' own answers; nothing is matched here a second time. The
kinds of error are those of TIDE (Bolya et al., ECCV 2020), asked in this order: an overlap above
the threshold explains an error before a slight one does, and the own class before another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.evaluation.cityscapes_ap import (
    INSTANCE_FACTOR,
    MIN_REGION_PIXELS,
    CityscapesAP,
    Segments,
)
from uda4inst.evaluation.coco_ap import CocoAP
from workbench.sessions.cutting import CutMask

Fate = Literal["tp", "fp", "fn", "dropped"]
ErrorKind = Literal[
    "duplicate", "wrong class", "bad mask", "wrong class and mask", "on nothing", "missed"
]
ERROR_KINDS: Final[tuple[ErrorKind, ...]] = (
    "duplicate",
    "wrong class",
    "bad mask",
    "wrong class and mask",
    "on nothing",
    "missed",
)
_SLIGHT: Final = 0.1  # IoU below which a detection lies on nothing; TIDE's


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one detection, or of one object.

    Args:
        fate: right, false positive, miss, or dropped: counted as nothing.
        partner: place of the object of a right detection, or of the detection of a found object.
        iou: of a right pair; of a false positive, with the object it errs about.
        error: of false positives and misses.
    """

    fate: Fate
    partner: int | None = None
    iou: float | None = None
    error: ErrorKind | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ImageTable:
    """The detections and objects of one image, side by side.

    Args:
        iou: (detections, objects).
        labels: thing index of every detection, -1 for other classes.
        things: thing index of every object.
        values: raw value of every object; below 1000 where it is part of a group.
        areas: pixels of every object.
        sizes: pixels of every detection.
        annotated: raw values of all objects and groups, ascending.
    """

    iou: Float64[np.ndarray, "D O"]
    labels: Int64[np.ndarray, " D"]
    things: Int64[np.ndarray, " O"]
    values: Int64[np.ndarray, " O"]
    areas: Int64[np.ndarray, " O"]
    sizes: Int64[np.ndarray, " D"]
    annotated: Int64[np.ndarray, " A"]

    @property
    def numbered(self) -> Bool[np.ndarray, " O"]:
        """Which objects are no part of a group."""
        return self.values >= INSTANCE_FACTOR


def image_table(
    instance_ids: Int32[np.ndarray, "H W"],
    detections: Sequence[CutMask],
    labels: Sequence[int],
    objects: Sequence[CutMask],
    things: ThingClasses = EIGHT,
) -> ImageTable:
    """Return the overlaps of detections and objects.

    Args:
        instance_ids: raw values of the image.
        detections: their pixels; there may be none.
        labels: thing index of every detection, -1 for other classes.
        objects: pixels of the objects, which have some.
        things: the classes there are.
    """
    segments = Segments.of(instance_ids, things)
    columns = np.array([segments.index[_first_pixel(one)] for one in objects], dtype=np.intp)
    shared = np.zeros((len(detections), len(segments.values)), dtype=np.int64)
    for row, one in zip(shared, detections, strict=True):
        height, width = one.mask.shape
        window = segments.index[one.top : one.top + height, one.left : one.left + width]
        row[:] = np.bincount(window[one.mask], minlength=len(row))
    areas, own = segments.areas[columns], shared.sum(axis=1)
    shared = shared[:, columns]
    iou = shared / (areas + own[:, None] - shared)
    of_objects, values = segments.things[columns], segments.values[columns]
    annotated = segments.values[segments.things >= 0]
    numbers = np.array(labels, dtype=np.int64)
    return ImageTable(iou, numbers, of_objects, values, areas, own, annotated)


def _first_pixel(one: CutMask) -> tuple[int, int]:
    row, column = np.argwhere(one.mask)[0]
    return one.top + int(row), one.left + int(column)


# Protocols --------------------------------------------------------------------------------------


def cityscapes_fates(image: CityscapesAP, table: ImageTable, column: int) -> list[Outcome]:
    """Return what the Cityscapes protocol made of every detection of an image.

    Args:
        image: an accumulator that saw this image alone.
        table: its overlaps.
        column: place of the threshold.
    """
    outcomes = [Outcome("dropped")] * len(table.labels)
    targets = cityscapes_targets(table)
    for thing, judged in enumerate(image.judged()):
        rows = np.flatnonzero((table.labels == thing) & (table.sizes > 0))
        own = np.flatnonzero(targets & (table.things == thing))
        right, wrong = judged.right[:, column], judged.wrong[:, column]
        for row in rows[right].tolist():
            partner = int(own[table.iou[row, own].argmax()])
            outcomes[row] = Outcome("tp", partner, float(table.iou[row, partner]))
        for row in rows[wrong].tolist():
            outcomes[row] = Outcome("fp")
    return outcomes


def cityscapes_targets(table: ImageTable) -> Bool[np.ndarray, " O"]:
    """Return which objects the Cityscapes protocol wants found."""
    return table.numbered & (table.areas >= MIN_REGION_PIXELS)


def coco_fates(image: CocoAP, table: ImageTable, column: int) -> list[Outcome]:
    """Return what the COCO protocol made of every detection of an image.

    Args:
        image: an accumulator that saw this image alone.
        table: its overlaps.
        column: place of the threshold.
    """
    outcomes = [Outcome("dropped")] * len(table.labels)
    rows = np.flatnonzero(table.labels >= 0)
    by_value = {value: place for place, value in enumerate(table.values.tolist())}
    for match in image.matches(column):
        row = int(rows[match.detection])
        if match.truth is None:
            outcomes[row] = Outcome("fp")
        elif (value := int(table.annotated[match.truth])) >= INSTANCE_FACTOR:
            partner = by_value[value]
            outcomes[row] = Outcome("tp", partner, float(table.iou[row, partner]))
    return outcomes


# Errors -----------------------------------------------------------------------------------------


def with_errors(
    outcomes: Sequence[Outcome],
    table: ImageTable,
    targets: Bool[np.ndarray, " O"],
    threshold: float,
) -> tuple[list[Outcome], list[Outcome]]:
    """Return the outcomes of detections, errors explained, and those of objects.

    A miss is explained by the false positive that errs about the object, if there is one.

    Args:
        outcomes: of the detections, from a protocol.
        table: the image's overlaps.
        targets: which objects are to be found.
        threshold: IoU that a match needs.
    """
    missed, dropped = Outcome("fn", error="missed"), Outcome("dropped")
    detections, objects = list(outcomes), [missed if wanted else dropped for wanted in targets]
    for row, outcome in enumerate(outcomes):
        if outcome.fate == "fp":
            detections[row], about = _explain(row, table, threshold)
            error = detections[row].error
            explains = error in ("wrong class", "bad mask")
            if about is not None and explains and objects[about].error == "missed":
                objects[about] = Outcome("fn", error=error)
    for row, outcome in enumerate(outcomes):
        if outcome.fate == "tp" and outcome.partner is not None:
            objects[outcome.partner] = Outcome("tp", row, outcome.iou)
    return detections, objects


def _explain(row: int, table: ImageTable, threshold: float) -> tuple[Outcome, int | None]:
    """Return a false positive with its kind of error, and the object it errs about."""
    own = np.where(table.numbered & (table.things == table.labels[row]), table.iou[row], 0.0)
    other = np.where(table.numbered & (table.things != table.labels[row]), table.iou[row], 0.0)
    kinds: tuple[tuple[ErrorKind, Float64[np.ndarray, " O"], float], ...] = (
        ("duplicate", own, threshold),
        ("wrong class", other, threshold),
        ("bad mask", own, _SLIGHT),
        ("wrong class and mask", other, _SLIGHT),
    )
    for kind, iou, least in kinds:
        if iou.size and iou.max() >= least:
            about = int(iou.argmax())
            return Outcome("fp", iou=float(iou[about]), error=kind), about
    return Outcome("fp", error="on nothing"), None
