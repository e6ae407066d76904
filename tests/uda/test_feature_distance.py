"""Feature distance on things: positions against a slow loop, the distance against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from uda4inst.structures import SemanticMap
from uda4inst.uda.feature_distance import FEATURE_THINGS, feature_distance, thing_positions

ROAD, LIGHT, CAR = 0, 6, 13


def random_maps(seed: int, size: tuple[int, int], block: int) -> list[SemanticMap]:
    """Blocks of few classes, so that many positions lie in one."""
    generator = torch.Generator().manual_seed(seed)
    choice = torch.tensor([ROAD, LIGHT, CAR, 255], dtype=torch.uint8)
    shape = (2, -(-size[0] // block), -(-size[1] // block))
    drawn = choice[torch.randint(4, shape, generator=generator)]
    full = drawn.repeat_interleave(block, 1).repeat_interleave(block, 2)
    return [SemanticMap(one[: size[0], : size[1]].contiguous()) for one in full]


def slow_positions(
    maps: list[SemanticMap], size: tuple[int, int], padded: tuple[int, int], min_share: float
) -> list[list[list[bool]]]:
    """The mask by a loop over positions and their pixels."""
    found = []
    for one in maps:
        rows = []
        for i in range(size[0]):
            row = []
            for j in range(size[1]):
                counts: dict[int, int] = {}
                top, left = i * padded[0] // size[0], j * padded[1] // size[1]
                bottom = math.ceil((i + 1) * padded[0] / size[0])
                right = math.ceil((j + 1) * padded[1] / size[1])
                for y in range(top, bottom):
                    for x in range(left, right):
                        inside = y < one.size[0] and x < one.size[1]
                        pixel = int(one.ids[y, x]) if inside else 255
                        counts[pixel] = counts.get(pixel, 0) + 1
                winner = min(counts, key=lambda c: (-counts[c], c))
                share = counts[winner] / ((bottom - top) * (right - left))
                row.append(winner in FEATURE_THINGS and share >= min_share)
            rows.append(row)
        found.append(rows)
    return found


@pytest.mark.parametrize(
    ("size", "features", "padded"),
    [
        ((16, 24), (4, 6), None),
        ((15, 22), (4, 6), (16, 24)),
        ((16, 24), (3, 5), None),
        ((16, 24), (16, 24), None),
    ],
    ids=["whole cells", "padded", "another stride", "a position a pixel"],
)
def test_thing_positions__equal_a_slow_loop(
    size: tuple[int, int], features: tuple[int, int], padded: tuple[int, int] | None
) -> None:
    maps = random_maps(0, size, 5)
    found = thing_positions(maps, features, padded=padded)
    assert found.tolist() == slow_positions(maps, features, padded or size, 0.75)
    assert 0 < int(found.sum()) < found.numel()


def test_thing_positions__three_quarters_are_enough() -> None:
    ids = torch.zeros(2, 8, dtype=torch.uint8)
    ids[0, :2] = ids[1, 0] = CAR  # three of four
    ids[0, 2:4] = CAR  # two of four
    ids[:, 4:6] = 255
    ids[:, 6:] = torch.tensor([[CAR, CAR], [255, CAR]])
    assert thing_positions([SemanticMap(ids)], (1, 4)).tolist() == [[[True, False, False, True]]]
    assert not thing_positions([SemanticMap(ids)], (1, 4), min_share=0.76).any()
    assert not thing_positions([SemanticMap(ids)], (1, 4), classes=(ROAD,)).any()


def test_feature_distance__is_the_mean_norm_over_positions() -> None:
    generator = torch.Generator().manual_seed(1)
    features, reference = torch.randn(2, 2, 5, 3, 4, generator=generator)
    positions = torch.rand(2, 3, 4, generator=generator) > 0.5
    norms = [
        math.sqrt(sum(float(v) ** 2 for v in features[b, :, y, x] - reference[b, :, y, x]))
        for b, y, x in positions.nonzero().tolist()
    ]
    found = feature_distance(features, reference, positions)
    assert float(found) == pytest.approx(sum(norms) / len(norms), rel=1e-6)


def gradient(features: Tensor, reference: Tensor, positions: Tensor) -> tuple[float, Tensor]:
    features.requires_grad_()
    loss = feature_distance(features, reference.requires_grad_(), positions)
    loss.backward()
    assert features.grad is not None
    assert reference.grad is None
    return loss.item(), features.grad


def test_feature_distance__without_positions_is_zero_with_gradient() -> None:
    features, nowhere = torch.randn(1, 5, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)
    loss, slope = gradient(features, torch.full((1, 5, 2, 2), torch.inf), nowhere)
    assert loss == 0
    assert not slope.any()


def test_feature_distance__equal_features_have_a_finite_gradient() -> None:
    features = torch.randn(1, 5, 2, 2)
    loss, slope = gradient(features, features.clone(), torch.ones(1, 2, 2, dtype=torch.bool))
    assert loss == 0
    assert not slope.any()


def test_feature_distance__gradient_lies_at_the_positions_alone() -> None:
    positions = torch.tensor([[[True, False], [False, False]]])
    _, slope = gradient(torch.randn(1, 5, 2, 2), torch.randn(1, 5, 2, 2), positions)
    assert slope.any(dim=1).tolist() == positions.tolist()
