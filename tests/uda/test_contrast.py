"""Contrast of two views: the formula by loops, all images of a batch, nothing known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from uda4inst.structures import SemanticMap
from uda4inst.uda.contrast import position_contrast, prototype_contrast

B, C, H, W = 2, 19, 3, 4


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(B, C, H, W, generator=torch.Generator().manual_seed(seed))


def slow_softmax(values: Sequence[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def slow_info_nce(vectors: list[list[float]], temperature: float) -> float:
    """The mean over all vectors; the positive of each lies half of all further on."""
    half, losses = len(vectors) // 2, []
    for i, vector in enumerate(vectors):
        powers = {
            j: math.exp(sum(a * b for a, b in zip(vector, other, strict=True)) / temperature)
            for j, other in enumerate(vectors)
            if j != i
        }
        positive = (i + half) % len(vectors)
        losses.append(-math.log(powers[positive] / sum(powers.values())))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_position_contrast__equals_loops(temperature: float) -> None:
    one, other = logits(0), logits(1)
    expected = []
    for b in range(B):
        vectors = [
            slow_softmax(view[b, :, y, x].tolist())
            for view in (one, other)
            for y in range(H)
            for x in range(W)
        ]
        expected.append(slow_info_nce(vectors, temperature))
    found = position_contrast(one, other, temperature=temperature)
    assert float(found) == pytest.approx(sum(expected) / B, rel=1e-5)


def maps_of(*rows: Sequence[Sequence[int]]) -> list[SemanticMap]:
    return [SemanticMap(torch.tensor(ids, dtype=torch.uint8)) for ids in rows]


MAPS = maps_of(
    [[0, 0, 13, 13], [255, 0, 13, 13], [255, 8, 8, 8]],
    [[18, 255, 255, 255], [18, 255, 255, 2], [18, 255, 255, 2]],
)


def slow_prototypes(view: Tensor, ids: Tensor) -> list[list[float]]:
    found = []
    for c in sorted({int(i) for i in ids.flatten()} - {255}):
        places = [(y, x) for y in range(H) for x in range(W) if int(ids[y, x]) == c]
        means = [sum(float(view[k, y, x]) for y, x in places) / len(places) for k in range(C)]
        found.append(slow_softmax(means))
    return found


@pytest.mark.parametrize("temperature", [0.143, 1.0])
def test_prototype_contrast__equals_loops_over_every_image(temperature: float) -> None:
    one, other = logits(2), logits(3)
    expected = [
        slow_info_nce(
            slow_prototypes(one[b], MAPS[b].ids) + slow_prototypes(other[b], MAPS[b].ids),
            temperature,
        )
        for b in range(B)
    ]
    found = prototype_contrast(one, other, MAPS, temperature=temperature)
    assert float(found) == pytest.approx(sum(expected) / B, rel=1e-5)
    assert min(expected) > 0


def test_prototype_contrast__larger_maps_are_looked_up_at_the_positions() -> None:
    larger = [SemanticMap(one.ids.repeat_interleave(5, 0).repeat_interleave(2, 1)) for one in MAPS]
    found = prototype_contrast(logits(2), logits(3), larger)
    assert torch.equal(found, prototype_contrast(logits(2), logits(3), MAPS))


def test_contrast__equal_views_score_better() -> None:
    one, other = logits(4), logits(5)
    assert position_contrast(one, one) < position_contrast(one, other)
    assert prototype_contrast(one, one, MAPS) < prototype_contrast(one, other, MAPS)


def test_contrast__gradient_flows_into_both_views() -> None:
    one, other = logits(6).requires_grad_(), logits(7).requires_grad_()
    (position_contrast(one, other) + prototype_contrast(one, other, MAPS)).backward()
    for view in (one, other):
        assert view.grad is not None
        assert view.grad.isfinite().all()
        assert view.grad.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("known", [(), (13,)], ids=["no class", "one class"])
def test_prototype_contrast__with_nothing_to_tell_apart_is_zero_with_gradient(
    known: tuple[int, ...],
) -> None:
    one = logits(8).requires_grad_()
    ids = torch.full((H, W), 255, dtype=torch.uint8)
    ids[0, : len(known)] = torch.tensor(known, dtype=torch.uint8)
    loss = prototype_contrast(one, logits(9), [SemanticMap(ids)] * B)
    loss.backward()
    assert loss.item() == 0
    assert one.grad is not None
    assert not one.grad.any()
