"""COCO mask AP by pycocotools, from the same Cityscapes ground truth.

How it differs from the Cityscapes protocol (see `cityscapes_ap`), on the same files:

- Objects of every size are targets, those under 100 pixels too. Groups are crowds: a prediction
  that lies on one with more than the threshold of its own pixels is ignored.
- There is no void: a prediction on void or caravan pixels is a false positive.
- At most 100 predictions an image and class count, best scores first. Empty masks count.
- Matching goes through predictions in score order, each taking the free object of best IoU >= t.
- Precision is made monotone and averaged over 101 recalls, so numbers tend to lie a little off the
  Cityscapes ones either way. Equal scores stay in the order given.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.evaluation.results import APResult, ClassAP
from uda4inst.formats.coco import annotations_of
from uda4inst.formats.predictions import OUT_OF_CLASS, ScoredMask
from uda4inst.formats.rle import run_lengths

MAX_DETECTIONS: Final = 100  # an image and class, COCO's default


@dataclass(frozen=True, slots=True)
class CocoMatch:
    """What became of one detection that takes part; crowds' are matches, too.

    Args:
        image: number of its image.
        detection: its place among those of the image that are of a class.
        truth: place, among the image's objects and groups by raw value, of what it was matched
            with; None for a false positive.
    """

    image: int
    detection: int
    truth: int | None


class CocoAP:
    """COCO mask AP over a growing set of images.

    Masks are held as run-length codes until the result is asked for. Accumulators that saw
    different images can be merged; the order of images matters only between equal scores.

    Args:
        things: the classes that are judged.
    """

    def __init__(self, things: ThingClasses = EIGHT) -> None:
        self.things: Final = things
        self._truths: list[list[dict[str, Any]]] = []
        self._detections: list[list[dict[str, Any]]] = []

    def add(self, gt_ids: NDArray[np.integer], predictions: Sequence[ScoredMask]) -> None:
        """Take in one image.

        Args:
            gt_ids: raw values of its `instanceIds` file, (H, W).
            predictions: any number; those of no class are skipped.

        Raises:
            ValueError: a mask has another size.
        """
        detections: list[dict[str, Any]] = []
        for number, prediction in enumerate(predictions):
            if prediction.size != gt_ids.shape:
                raise ValueError(
                    f"mask must have the ground truth's size {gt_ids.shape}, got "
                    f"{prediction.size} (prediction {number})."
                )
            if prediction.label != OUT_OF_CLASS:
                rle = prediction.rle()
                detections.append(
                    {
                        "category_id": prediction.label + 1,
                        "score": prediction.score,
                        "segmentation": rle,
                        "area": int(run_lengths(rle)[1::2].sum()),
                    }
                )
        self._truths.append(annotations_of(gt_ids))
        self._detections.append(detections)

    def merge(self, other: CocoAP) -> None:
        """Take in everything another accumulator saw."""
        self._truths += other._truths
        self._detections += other._detections

    def result(self) -> APResult:
        """Return the averages over everything added so far."""
        return _summary(self._precision(), self.things.names)

    def matches(self, threshold: int) -> list[CocoMatch]:
        """Return what became of every detection, by class; those past the limit are left out.

        Args:
            threshold: place of the IoU among .50, .55, ... .95.
        """
        truths, detections = _places(self._truths), _places(self._detections)
        return [
            CocoMatch(*detections[number], truths[truth][1] if truth else None)
            for part in self._evaluated().evalImgs
            if part is not None
            for number, truth in zip(part["dtIds"], part["dtMatches"][threshold], strict=True)
        ]

    def _precision(self) -> NDArray[np.float64]:
        """Return precision (thresholds, recalls, classes); -1 for classes without ground truth."""
        if not any(self._truths):
            return np.full((10, 101, len(self.things)), -1.0)
        evaluation = self._evaluated()
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        return evaluation.eval["precision"][:, :, :, 0, 0]

    def _evaluated(self) -> Any:
        """Return pycocotools' evaluation, its images matched."""
        evaluation = COCOeval(
            _coco(self._truths, self.things), _coco(self._detections, self.things), "segm"
        )
        # The other size ranges and detection limits do not enter AP and AP50.
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
        return evaluation


def _places(images: Sequence[Sequence[object]]) -> dict[int, tuple[int, int]]:
    """Return image and place in it by the id that `_coco` gives."""
    places = [(number, place) for number, of in enumerate(images) for place in range(len(of))]
    return dict(enumerate(places, start=1))


def _coco(images: Sequence[Sequence[dict[str, Any]]], things: ThingClasses) -> COCO:
    """Return pycocotools' view of annotations grouped by image; ids are given here."""
    annotations = [
        {"iscrowd": 0, **entry, "image_id": number}
        for number, entries in enumerate(images, start=1)
        for entry in entries
    ]
    for number, entry in enumerate(annotations, start=1):
        entry["id"] = number
    coco = COCO()
    coco.dataset = cast(
        Any,
        {
            # Sizes are read, but matter to polygons alone.
            "images": [{"id": n, "height": 0, "width": 0} for n in range(1, len(images) + 1)],
            "annotations": annotations,
            "categories": [{"id": n, "name": name} for n, name in enumerate(things.names, start=1)],
        },
    )
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _summary(precision: NDArray[np.float64], names: Sequence[str]) -> APResult:
    """Return the averages as COCOeval's summary takes them."""
    per_class: dict[str, ClassAP | None] = {}
    for index, name in enumerate(names):
        own = precision[:, :, index]
        present = bool((own > -1).any())
        per_class[name] = ClassAP(float(own.mean()), float(own[0].mean())) if present else None
    present_cells, at_50 = precision[precision > -1], precision[0][precision[0] > -1]
    if not present_cells.size:
        return APResult(None, None, per_class)
    return APResult(float(np.mean(present_cells)), float(np.mean(at_50)), per_class)
