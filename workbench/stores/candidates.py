"""Snapshots' detections with their overlaps settled, so that score thresholds can be tried.

No network runs, and no mask is looked at a second time; the rules are `uda4inst.uda`'s own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from uda4inst.detections import Detections
from uda4inst.formats.rle import Rle, rle_decode
from uda4inst.run_folder.snapshot_reader import SnapshotItem
from uda4inst.uda.threshold_sweep import Settled
from uda4inst.uda.threshold_sweep import settle as settle_detections
from workbench.stores.recent import Recent


class CandidateStore:
    """Settles the detections of snapshots; the few settled last stay in memory."""

    def __init__(self, *, kept: int = 8) -> None:
        self._recent: Recent[tuple[int, float, float], tuple[SnapshotItem, Settled]]
        self._recent = Recent(kept)

    def of(
        self, item: SnapshotItem, *, min_valid_share: float, min_visible_share: float = 0.0
    ) -> Settled:
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
) -> Settled:
    """Return a snapshot item's detections with their overlaps resolved as training does.

    Args:
        item: with a target image.
        min_valid_share: smallest share of a detection off the ego vehicle.
        min_visible_share: smallest share of the rest that better detections must leave.
    """
    found = item.candidates
    height, width = (0, 0) if item.target is None else item.target.shape[:2]
    masks = np.zeros((len(found), height, width), dtype=bool)
    for mask, candidate in zip(masks, found, strict=True):
        if candidate.valid_share >= min_valid_share:
            mask[:] = rle_decode(Rle(size=[height, width], counts=str(candidate.rle["counts"])))
    detections = Detections(
        labels=torch.tensor([c.label for c in found], dtype=torch.int64),
        class_scores=torch.tensor([c.class_score for c in found], dtype=torch.float32),
        mask_scores=torch.tensor([c.mask_score for c in found], dtype=torch.float32),
        size=(height, width),
        masks=torch.from_numpy(masks),
    )
    valid = np.ones((height, width), dtype=bool) if item.valid is None else item.valid
    settled = settle_detections(
        detections,
        torch.from_numpy(valid),
        valid_shares=torch.tensor([c.valid_share for c in found], dtype=torch.float32),
        min_valid_share=min_valid_share,
        min_visible_share=min_visible_share,
        names=item.names,
    )
    return replace(settled, scores=np.asarray([c.score for c in found], dtype=np.float64))
