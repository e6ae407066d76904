from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from uda4inst.ops.masks import boxes_xyxy, inner_point, outline
from uda4inst.structures import InstanceMap


def picture(*rows: str) -> NDArray[np.int32]:
    """Draw ids: '.' background, '#' ignore, digits themselves."""
    numbers = {".": 0, "#": -1}
    return np.array([[numbers.get(c, -9) if c in ".#" else int(c) for c in r] for r in rows], "i4")


def test_outline__lies_inside_the_mask() -> None:
    mask = picture(".....", ".111.", ".111.", ".111.", ".....") == 1
    assert (
        outline(mask).astype(int).tolist()
        == picture(".....", ".111.", ".1.1.", ".111.", ".....").tolist()
    )


def test_outline__separates_touching_objects_of_an_id_map() -> None:
    edge = outline(picture("1122", "1122", "##.."))
    assert edge.astype(int).tolist() == picture(".11.", "1111", "....").tolist()


def test_outline__is_open_at_the_border_of_the_image() -> None:
    assert not outline(np.ones((3, 3), dtype=bool)).any()


def test_outline__can_be_thicker() -> None:
    edge = outline(picture("11111.") == 1, thickness=2)
    assert edge.astype(int).tolist() == picture("...11.").tolist()


def test_boxes_xyxy__are_half_open_and_zero_without_pixels() -> None:
    ids = torch.from_numpy(picture(".33.", "1#3.", "1..4"))
    boxes = boxes_xyxy(InstanceMap(ids, torch.tensor([0, 1, 2, -1])))
    assert boxes.tolist() == [[0, 1, 1, 3], [0, 0, 0, 0], [1, 0, 3, 2], [0, 0, 0, 0]]


def test_boxes_xyxy__takes_an_empty_map() -> None:
    assert boxes_xyxy(InstanceMap.empty((2, 2))).shape == (0, 4)


def test_boxes_xyxy__never_looks_at_values_on_a_device() -> None:
    instances = InstanceMap(torch.from_numpy(picture(".11")), torch.tensor([0])).to("meta")
    assert boxes_xyxy(instances).shape == (1, 4)


def test_inner_point__is_on_the_object() -> None:
    ring = picture("1111111", "1.....1", "1.....1", "1111111", "1111111", "1111111") == 1
    row, column = inner_point(ring) or (-1, -1)
    assert row == 4
    assert ring[row, column]


def test_inner_point__of_an_empty_mask_is_none() -> None:
    assert inner_point(np.zeros((2, 2), dtype=bool)) is None
