"""Pseudo-labels at any score threshold, from detections whose overlaps are settled once.

Better detections own the pixels they share with worse ones, and a detection that passes a
threshold is never covered by one that does not. So who owns which pixel does not depend on the
threshold: it is settled once per image, by `select` itself, and a threshold only switches owners on
and off. What `kept` says at a threshold is what `select` keeps there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray
from torch import Tensor

from uda4inst.classes import THING_NAMES
from uda4inst.detections import Detections
from uda4inst.uda.pseudo_labels import select

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The detections of one image, their pixels settled.

    Args:
        ids: 0 where no detection is, k where detection k-1 is the best one; (H, W).
        labels: thing index of every detection.
        scores: score of every detection, best first.
        on_ego: too much of it lies on the ego vehicle.
        covered: better detections own all its pixels.
        sliver: better detections leave too small a share of it.
        names: of all classes, by thing index.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    on_ego: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    sliver: NDArray[np.bool_]
    names: tuple[str, ...] = THING_NAMES

    def kept(self, score_threshold: float) -> NDArray[np.bool_]:
        """Return which detections become pseudo-labels at a threshold."""
        return (self.scores > score_threshold) & self._visible() & ~self.sliver

    def ignored(self, kept: NDArray[np.bool_], unsure_threshold: float | None) -> NDArray[np.bool_]:
        """Return which detections are ignored rather than background.

        Args:
            kept: which become pseudo-labels.
            unsure_threshold: what scores more is ignored if it is not kept; None: nothing is.
        """
        if unsure_threshold is None:
            return np.zeros(len(self.scores), dtype=bool)
        return (self.scores > unsure_threshold) & self._visible() & ~kept

    def _visible(self) -> NDArray[np.bool_]:
        return ~self.on_ego & ~self.covered

    def counts(self, score_threshold: float) -> Counts:
        """Return the number of pseudo-labels per class at a threshold, (things,)."""
        labels = self.labels[self.kept(score_threshold)]
        return np.bincount(labels, minlength=len(self.names))

    def curve(self, thresholds: NDArray[np.float64]) -> Counts:
        """Return the number of pseudo-labels per class (things,) at every threshold."""
        return np.stack([self.counts(float(t)) for t in thresholds])


def settle(
    detections: Detections,
    valid: Bool[Tensor, "H W"],
    *,
    valid_shares: Float32[Tensor, " N"],
    min_valid_share: float,
    min_visible_share: float = 0.0,
    names: tuple[str, ...] = THING_NAMES,
) -> Settled:
    """Return detections with their overlaps resolved as `select` does.

    Args:
        detections: of one image, with masks; best first. Masks of those on the ego vehicle may be
            empty: they are not looked at.
        valid: False where no object can be.
        valid_shares: share of every detection's area that is valid.
        min_valid_share: smallest such share of a pseudo-label.
        min_visible_share: smallest share of its valid area that better detections must leave.
        names: of all classes, by thing index.
    """
    assert detections.masks is not None, "detections with masks"
    on_ego = valid_shares < min_valid_share
    masks = detections.masks & ~on_ego[:, None, None]
    others = Detections(
        labels=detections.labels,
        class_scores=detections.class_scores,
        mask_scores=detections.mask_scores,
        size=detections.size,
        masks=masks,
    )
    # Below every score: what is dropped here is covered, or empty because of the ego vehicle.
    settled = select(others, score_threshold=-1.0, valid=valid, min_valid_share=0.0)
    visible = settled.areas()
    sliver = visible < min_visible_share * (masks & valid).sum(dim=(1, 2))
    return Settled(
        ids=np.asarray(settled.ids, dtype=np.int32),
        labels=np.asarray(detections.labels, dtype=np.int64),
        scores=np.asarray(detections.scores, dtype=np.float64),
        on_ego=np.asarray(on_ego, dtype=np.bool_),
        covered=np.asarray((settled.labels < 0) & ~on_ego, dtype=np.bool_),
        sliver=np.asarray(sliver & (visible > 0), dtype=np.bool_),
        names=names,
    )
