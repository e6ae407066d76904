"""How far two sets of detections agree on the same images, without any label.

In each image and class, detections that score more than a threshold are paired one to one where
their IoU is at least .5. The pairs are those with the largest sum of IoU (Hungarian assignment),
which is the best quality there can be: unlike greedy pairing by score it treats both sides alike
(scores of two networks are on no common scale), and the order of the detections has no say.

    quality = sum of IoU / (pairs + unpaired / 2),    f1 = pairs / (pairs + unpaired / 2)

The quality is the panoptic quality (Kirillov et al., CVPR 2019) with one side in the place of the
truth; masks may overlap here, so several detections can want one partner. Both numbers lie in
[0, 1]. They are undefined, None, where neither side found anything: silence is no agreement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from uda4inst.classes import THING_NAMES
from uda4inst.formats.predictions import OUT_OF_CLASS, ScoredMask
from uda4inst.formats.rle import overlaps

MIN_IOU: Final = 0.5


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was paired over some images; sums of two are over the images of both.

    Args:
        iou: sum over the pairs.
        pairs: of one detection of each side.
        found: detections of both sides together.
    """

    iou: float = 0.0
    pairs: int = 0
    found: int = 0

    @property
    def quality(self) -> float | None:
        """Sum of IoU over pairs and half of the unpaired; None where nothing was found."""
        return 2 * self.iou / self.found if self.found else None

    @property
    def f1(self) -> float | None:
        """Pairs over pairs and half of the unpaired; None where nothing was found."""
        return 2 * self.pairs / self.found if self.found else None

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.iou + other.iou, self.pairs + other.pairs, self.found + other.found)


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """Agreement by class, over some images.

    Args:
        by_class: by thing index; classes that neither side found are left out.
    """

    by_class: Mapping[int, Agreement]

    @property
    def quality(self) -> float | None:
        """Mean of the classes that either side found; None where there is none."""
        return _mean([agreement.quality for agreement in self.by_class.values()])

    @property
    def f1(self) -> float | None:
        """Mean of the classes that either side found; None where there is none."""
        return _mean([agreement.f1 for agreement in self.by_class.values()])

    @property
    def pooled(self) -> Agreement:
        """Every detection alike, whatever its class."""
        return sum(self.by_class.values(), Agreement())

    def __add__(self, other: ClassAgreement) -> ClassAgreement:
        both = sorted(self.by_class.keys() | other.by_class.keys())
        none = Agreement()
        return ClassAgreement(
            {k: self.by_class.get(k, none) + other.by_class.get(k, none) for k in both}
        )

    def to_json(self, names: Sequence[str] = THING_NAMES) -> dict[str, Any]:
        """Return all of it as JSON, classes by name (`names` by thing index)."""
        return {
            "quality": self.quality,
            "f1": self.f1,
            "pooled": {"quality": self.pooled.quality, "f1": self.pooled.f1},
            "per_class": {
                names[label]: {
                    "quality": agreement.quality,
                    "f1": agreement.f1,
                    "pairs": agreement.pairs,
                    "found": agreement.found,
                }
                for label, agreement in self.by_class.items()
            },
        }


def agreements(
    first: Sequence[Sequence[ScoredMask]],
    second: Sequence[Sequence[ScoredMask]],
    thresholds: Sequence[float],
) -> dict[float, ClassAgreement]:
    """Return how far two sets of detections agree, at every score threshold.

    Args:
        first: detections of every image; both sides have the same images in the same order.
        second: of the other side.
        thresholds: scores must exceed them, on both sides.
    """
    totals = {threshold: ClassAgreement({}) for threshold in thresholds}
    for one, other in zip(first, second, strict=True):
        for label in sorted({d.label for d in (*one, *other)} - {OUT_OF_CLASS}):
            mine, theirs = ([d for d in side if d.label == label] for side in (one, other))
            iou = overlaps([d.rle() for d in mine], [d.rle() for d in theirs])
            scores = [np.array([d.score for d in side]) for side in (mine, theirs)]
            for threshold in thresholds:
                rows, columns = (values > threshold for values in scores)
                agreement = _paired(iou[rows][:, columns])
                if agreement.found:
                    totals[threshold] += ClassAgreement({label: agreement})
    return totals


def _paired(iou: NDArray[np.float64]) -> Agreement:
    """Return the agreement of two sets of masks, from their table of IoU."""
    wanted = np.where(iou >= MIN_IOU, iou, 0.0)
    rows, columns = linear_sum_assignment(wanted, maximize=True)
    of_pairs = wanted[rows, columns]
    pairs = int(np.count_nonzero(of_pairs))
    return Agreement(float(of_pairs.sum()), pairs, sum(iou.shape))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None
