"""How right pseudo-labels of pixels are, where labels exist: a diagnostic, never training's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES

_CLASSES: Final = len(SEMANTIC_CLASSES)
_FULL: Final = 255  # of a confidence as snapshots keep it


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What of an image's labelled pixels is said, rightly or not, by class.

    Args:
        said: kept pixels, by the class that is said of them.
        right: those of them that are of that class.
        there: pixels by their true class, kept or not.
    """

    said: Int64[np.ndarray, " 19"]
    right: Int64[np.ndarray, " 19"]
    there: Int64[np.ndarray, " 19"]

    def precision(self) -> NDArray[np.float64]:
        """Return the share of each class's kept pixels that is right; NaN where none is kept."""
        return _share(self.right, self.said)

    def recall(self) -> NDArray[np.float64]:
        """Return the share of each class's pixels that is kept and right; NaN where none is."""
        return _share(self.right, self.there)

    @property
    def precision_of_all(self) -> float:
        """The share of all kept pixels that is right; NaN where none is kept."""
        return float(_share(self.right.sum(), self.said.sum()))

    @property
    def recall_of_all(self) -> float:
        """The share of all pixels that is kept and right; NaN where nothing is labelled."""
        return float(_share(self.right.sum(), self.there.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class VerdictCurve:
    """The verdicts at every confidence threshold, made once.

    Args:
        said: kept pixels by class, at each of the thresholds 0/255 to 255/255, and at one that
            nothing reaches.
        right: as `said`, those that are right.
        there: pixels by their true class.
    """

    said: Int64[np.ndarray, "19 257"]
    right: Int64[np.ndarray, "19 257"]
    there: Int64[np.ndarray, " 19"]

    def at(self, threshold: float) -> Verdicts:
        """Return the verdicts on the pixels that are at least as sure.

        Args:
            threshold: of the confidence, in [0, 1].
        """
        level = int(np.ceil(threshold * _FULL))
        return Verdicts(self.said[:, level], self.right[:, level], self.there)


def judge_kept(
    said: UInt8[np.ndarray, "H W"], truth: UInt8[np.ndarray, "H W"], kept: Bool[np.ndarray, "H W"]
) -> Verdicts:
    """Return the verdicts on an image's kept pixels; pixels without a true class do not count.

    Args:
        said: trainIds of all pixels; where nothing is kept they do not matter.
        truth: trainIds, 255 where nothing is known.
        kept: pixels whose pseudo-label is kept.
    """
    labelled = truth != IGNORE_TRAIN_ID
    counted = kept & labelled
    return Verdicts(
        _by_class(said[counted]),
        _by_class(said[counted & (said == truth)]),
        _by_class(truth[labelled]),
    )


def judge_by_confidence(
    best: UInt8[np.ndarray, "H W"],
    confidence: UInt8[np.ndarray, "H W"],
    truth: UInt8[np.ndarray, "H W"],
) -> VerdictCurve:
    """Return the verdicts on an image at every threshold; a pixel is kept from its confidence up.

    Args:
        best: the likeliest class of every pixel, a trainId.
        confidence: its probability, 255 for 1.
        truth: trainIds, 255 where nothing is known.
    """
    labelled = truth != IGNORE_TRAIN_ID
    right = labelled & (best == truth)
    places = best.astype(np.int64) * (_FULL + 1) + confidence
    said, found = _from_above(places[labelled]), _from_above(places[right])
    return VerdictCurve(said, found, _by_class(truth[labelled]))


def _from_above(places: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, "19 257"]:
    """Return how many pixels of each class are at least so sure, of (class, confidence) pairs."""
    counts = np.bincount(places, minlength=_CLASSES * (_FULL + 1)).reshape(_CLASSES, _FULL + 1)
    sums = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.concatenate([sums, np.zeros((_CLASSES, 1), dtype=np.int64)], axis=1)


def _by_class(train_ids: UInt8[np.ndarray, " N"]) -> Int64[np.ndarray, " 19"]:
    return np.bincount(train_ids, minlength=_CLASSES)


def _share(some: np.ndarray | np.int64, of: np.ndarray | np.int64) -> np.ndarray:
    """Return some / of; NaN where there is nothing."""
    whole = np.asarray(of, dtype=np.float64)
    return np.divide(some, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
