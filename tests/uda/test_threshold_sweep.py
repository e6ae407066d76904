from __future__ import annotations

import pytest
import torch

from uda4inst.detections import Detections
from uda4inst.uda.pseudo_labels import select, valid_shares
from uda4inst.uda.threshold_sweep import settle


def crowd(seed: int) -> tuple[Detections, torch.Tensor]:
    """Return overlapping boxes of random classes and scores, best first, and a valid region."""
    generator = torch.Generator().manual_seed(seed)
    count, size = 12, (24, 32)
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        top, left = (int(torch.randint(0, n - 8, (1,), generator=generator)) for n in size)
        height, width = (int(n) for n in torch.randint(2, 9, (2,), generator=generator))
        mask[top : top + height, left : left + width] = True
    valid = torch.ones(size, dtype=torch.bool)
    valid[18:] = False
    labels = torch.randint(0, 8, (count,), generator=generator)
    return Detections(labels, scores, torch.ones(count), size, masks=masks), valid


@pytest.mark.parametrize("min_visible_share", [0.0, 0.3], ids=["all", "no-slivers"])
@pytest.mark.parametrize("min_valid_share", [0.0, 0.5], ids=["anywhere", "off-the-ego-vehicle"])
@pytest.mark.parametrize("seed", range(6))
def test_settle__keeps_what_select_keeps_at_every_threshold(
    seed: int, min_valid_share: float, min_visible_share: float
) -> None:
    detections, valid = crowd(seed)
    shares = {"min_valid_share": min_valid_share, "min_visible_share": min_visible_share}
    found = valid_shares(detections, valid)
    settled = settle(
        detections,
        valid,
        valid_shares=found,
        min_valid_share=min_valid_share,
        min_visible_share=min_visible_share,
    )
    for threshold in torch.linspace(0, 1, 11).tolist():
        kept = select(detections, score_threshold=threshold, valid=valid, **shares)
        assert settled.kept(threshold).tolist() == (kept.labels >= 0).tolist()
        owned = torch.from_numpy(settled.ids)
        owned = torch.where(
            torch.isin(owned, torch.from_numpy(settled.kept(threshold).nonzero()[0]) + 1), owned, 0
        )
        assert torch.equal(owned, kept.ids.clamp(min=0))


def test_settled__ignores_what_is_unsure_and_visible() -> None:
    detections, valid = crowd(0)
    found = valid_shares(detections, valid)
    settled = settle(detections, valid, valid_shares=found, min_valid_share=0.0)
    kept = settled.kept(0.6)
    assert not settled.ignored(kept, None).any()
    unsure = settled.ignored(kept, 0.3)
    assert unsure.any()
    assert (settled.scores[unsure] > 0.3).all()
    assert not (unsure & kept).any()
