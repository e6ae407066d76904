from __future__ import annotations

import torch

from uda4inst.structures import InstanceMap


def test_of_masks__the_earlier_mask_has_the_pixel() -> None:
    masks = torch.tensor([[[0, 1, 1, 0]], [[1, 1, 0, 0]]]).bool()
    found = InstanceMap.of_masks(masks, torch.tensor([7, 2]))
    assert found.ids.tolist() == [[2, 1, 1, 0]]
    assert found.labels.tolist() == [7, 2]


def test_of_masks__of_masks_gives_them_back() -> None:
    ids = torch.tensor([[0, 2, 1], [3, 3, 1]], dtype=torch.int32)
    first = InstanceMap(ids, torch.tensor([0, 5, 5]))
    again = InstanceMap.of_masks(first.masks(), first.labels)
    assert torch.equal(again.ids, ids)


def test_of_masks__none_is_background() -> None:
    empty = InstanceMap.of_masks(torch.zeros(0, 2, 3, dtype=torch.bool), torch.zeros(0).long())
    assert empty.ids.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert len(empty) == 0
