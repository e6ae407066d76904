from __future__ import annotations

import pytest
import torch

from uda4inst.ops.patches import boxes_region, union_of_boxes
from uda4inst.structures import InstanceMap

SIZE = (6, 9)


def union_slowly(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    region = torch.zeros(size, dtype=torch.bool)
    for left, top, right, bottom in boxes.tolist():
        region[top:bottom, left:right] = True
    return region


def random_boxes(seed: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    across = torch.randint(0, SIZE[1] + 1, (count, 2), generator=generator).sort(1).values
    down = torch.randint(0, SIZE[0] + 1, (count, 2), generator=generator).sort(1).values
    return torch.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], dim=1)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("seed", range(4))
def test_union_of_boxes__agrees_with_the_slow_loop(seed: int, count: int) -> None:
    boxes = random_boxes(seed, count)
    assert torch.equal(union_of_boxes(boxes, SIZE), union_slowly(boxes, SIZE))


def test_union_of_boxes__covers_the_whole_image() -> None:
    assert union_of_boxes(torch.tensor([[0, 0, 9, 6]]), SIZE).all()


def drawn() -> InstanceMap:
    """Two slots that overlap in their boxes, one without pixels, one that is empty, and ignore."""
    ids = torch.tensor([[1, 0, 2, 0], [0, 1, 2, 4], [0, 0, 0, -1]], dtype=torch.int32)
    return InstanceMap(ids, torch.tensor([0, 1, 2, -1]))


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ([1, 0, 0, 0], [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]),
        ([1, 1, 0, 0], [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]),
        ([0, 0, 1, 1], [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
        ([0, 0, 0, 0], [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
    ],
    ids=["one", "two", "nothing-there", "none-chosen"],
)
def test_boxes_region__of_chosen_slots(which: list[int], expected: list[list[int]]) -> None:
    region = boxes_region(drawn(), torch.tensor(which, dtype=torch.bool))
    assert region.int().tolist() == expected


def test_boxes_region__never_looks_at_values_on_a_device() -> None:
    which = torch.ones(4, dtype=torch.bool, device="meta")
    assert boxes_region(drawn().to("meta"), which).shape == (3, 4)
