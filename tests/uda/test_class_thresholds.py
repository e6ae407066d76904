"""Pseudo-labels as sure as half of their class: by a slow loop, and for classes that are absent."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from uda4inst.uda.class_thresholds import class_thresholded

Over = Literal["image", "batch"]
CLASSES = 6


def draw(seed: int, *, absent: tuple[int, ...] = (1, 4)) -> Tensor:
    """Logits of two 7x9 images; some classes are nobody's."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, CLASSES, 7, 9, generator=generator)
    logits[:, list(absent)] = -50
    logits[0, 2] = -50  # of the second image alone
    return logits


def slow(
    logits: Tensor, over: Over, valid: Tensor, highest: float = 0.9
) -> tuple[list[list[float]], list[list[int]]]:
    """Thresholds by image and class, and ids by image and pixel."""
    sure, winner = logits.softmax(dim=1).max(dim=1)
    groups = [[0], [1]] if over == "image" else [[0, 1]]
    thresholds = [[math.nan] * CLASSES for _ in range(2)]
    for group in groups:
        for c in range(CLASSES):
            inside = [(winner[b] == c) & valid[b] for b in group]
            values = sorted(v for b, own in zip(group, inside) for v in sure[b][own].tolist())  # noqa: B905
            if values:
                for b in group:
                    thresholds[b][c] = min(values[(len(values) - 1) // 2], highest)
    ids = [
        [
            c if ok and v >= thresholds[b][c] else 255
            for c, v, ok in zip(
                winner[b].flatten().tolist(),
                sure[b].flatten().tolist(),
                valid[b].flatten().tolist(),
                strict=True,
            )
        ]
        for b in range(2)
    ]
    return thresholds, ids


@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("partly", [False, True], ids=["everywhere", "ego vehicle"])
def test_class_thresholded__equals_a_slow_loop(over: Over, seed: int, partly: bool) -> None:
    logits = draw(seed)
    valid = torch.ones(2, 7, 9, dtype=torch.bool)
    valid[:, 5:] = not partly
    found = class_thresholded(logits, over=over, valid=valid if partly else None)
    thresholds, ids = slow(logits, over, valid)
    torch.testing.assert_close(
        found.thresholds, torch.tensor(thresholds).float(), equal_nan=True, rtol=0, atol=1e-7
    )
    assert found.ids.flatten(1).tolist() == ids
    assert torch.equal(found.confidence, logits.softmax(dim=1).amax(dim=1))
    assert found.ids.dtype == torch.uint8


def test_class_thresholded__absent_classes_shift_nothing() -> None:
    logits = draw(5, absent=(1, 4))
    present = [0, 2, 3, 5]
    few = class_thresholded(logits[:, present])
    found = class_thresholded(logits)
    assert found.thresholds[:, [1, 4]].isnan().all()
    torch.testing.assert_close(found.thresholds[:, present], few.thresholds, equal_nan=True)


def test_class_thresholded__half_or_more_of_a_class_stays() -> None:
    found = class_thresholded(draw(3), highest=1.0)
    winner = draw(3).argmax(dim=1)
    for b in range(2):
        for c in range(CLASSES):
            own = winner[b] == c
            kept = (found.ids[b][own] == c).sum()
            assert 2 * kept >= own.sum()
            assert kept <= own.sum() // 2 + 1


def test_class_thresholded__the_cap_keeps_all_that_is_sure() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0, 0] = torch.tensor([0.1, 3.0, 4.0, 5.0])
    found = class_thresholded(logits, highest=0.9)
    assert found.ids.tolist() == [[[255, 0, 0, 0]]]
    assert class_thresholded(logits, highest=1.0).ids.tolist() == [[[255, 0, 0, 0]]]
    logits[0, 0, 0] = torch.tensor([2.5, 3.0, 4.0, 5.0])
    assert class_thresholded(logits, highest=0.9).ids.tolist() == [[[0, 0, 0, 0]]]
    assert float(found.thresholds[0, 0]) == pytest.approx(0.9)


def test_class_thresholded__nothing_valid_gives_nothing() -> None:
    found = class_thresholded(draw(0), valid=torch.zeros(2, 7, 9, dtype=torch.bool))
    assert (found.ids == 255).all()
    assert found.thresholds.isnan().all()
    assert found.confidence.isfinite().all()
