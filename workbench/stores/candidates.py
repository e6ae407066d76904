"""Try score thresholds on a snapshot's detections: no network, no second look at the masks.

Better detections own the pixels they share with worse ones, and a detection that passes a
threshold is never covered by one that does not. So who owns which pixel does not depend on the
threshold: it is settled once per image, and a threshold only switches owners on and off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from uda4inst.classes import NUM_THINGS
from uda4inst.formats.rle import Rle, rle_decode
from uda4inst.run_folder.snapshot_reader import SnapshotItem
from uda4inst.structures import Detections
from uda4inst.uda.pseudo_labels import select
from workbench.stores.recent import Recent

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """A snapshot item's detections, their pixels settled.

    Args:
        ids: 0 where no detection is, k where detection k-1 is the best one; (H, W).
        labels: thing index of every detection.
        scores: score of every detection, best first.
        on_ego: too much of it lies on the ego vehicle.
        covered: better detections own all its pixels.
        sliver: better detections leave too small a share of it.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    on_ego: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    sliver: NDArray[np.bool_]

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
        """Return the number of pseudo-labels per class at a threshold, (8,)."""
        return np.bincount(self.labels[self.kept(score_threshold)], minlength=NUM_THINGS)

    def curve(self, thresholds: NDArray[np.float64]) -> Counts:
        """Return the number of pseudo-labels per class (8,) at every threshold."""
        return np.stack([self.counts(float(t)) for t in thresholds])


class CandidateStore:
    """Settles the detections of snapshots; the few settled last stay in memory."""

    def __init__(self, *, kept: int = 8) -> None:
        self._recent: Recent[tuple[int, float, float], tuple[SnapshotItem, Candidates]]
        self._recent = Recent(kept)

    def of(
        self, item: SnapshotItem, *, min_valid_share: float, min_visible_share: float = 0.0
    ) -> Candidates:
        """Return a snapshot item's detections with their overlaps resolved."""
        shares = {"min_valid_share": min_valid_share, "min_visible_share": min_visible_share}
        # The item is kept beside the result, so that its identity is not given to another.
        _, candidates = self._recent.get(
            (id(item), min_valid_share, min_visible_share),
            lambda: (item, settle(item, **shares)),
        )
        return candidates


def settle(
    item: SnapshotItem, *, min_valid_share: float, min_visible_share: float = 0.0
) -> Candidates:
    """Return a snapshot item's detections with their overlaps resolved as training does.

    Args:
        item: with a target image.
        min_valid_share: smallest share of a detection off the ego vehicle.
        min_visible_share: smallest share of the rest that better detections must leave.
    """
    found = item.candidates
    height, width = (0, 0) if item.target is None else item.target.shape[:2]
    labels = np.asarray([c.label for c in found], dtype=np.int64)
    on_ego = np.asarray([c.valid_share < min_valid_share for c in found], dtype=bool)
    masks = np.zeros((len(found), height, width), dtype=bool)
    for mask, candidate, ego in zip(masks, found, on_ego, strict=True):
        if not ego:
            mask[:] = rle_decode(Rle(size=[height, width], counts=str(candidate.rle["counts"])))
    detections = Detections(
        labels=torch.from_numpy(labels),
        class_scores=torch.tensor([c.class_score for c in found], dtype=torch.float32),
        mask_scores=torch.tensor([c.mask_score for c in found], dtype=torch.float32),
        size=(height, width),
        masks=torch.from_numpy(masks),
    )
    valid = np.ones((height, width), dtype=bool) if item.valid is None else item.valid
    # Below every score: what is dropped here is covered, or empty because of the ego vehicle.
    settled = select(
        detections,
        score_threshold=-1.0,
        valid=torch.from_numpy(valid),
        min_valid_share=0.0,
    )
    visible = settled.areas().numpy()
    sliver = visible < min_visible_share * (masks & valid).sum(axis=(1, 2))
    return Candidates(
        ids=settled.ids.numpy(),
        labels=labels,
        scores=np.asarray([c.score for c in found], dtype=np.float64),
        on_ego=on_ego,
        covered=(settled.labels.numpy() < 0) & ~on_ego,
        sliver=sliver & (visible > 0),
    )
