"""Whole boxes of instances as regions of an image, for pasting small ones with what is around."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from uda4inst.ops.masks import boxes_xyxy
from uda4inst.structures import InstanceMap, Size


def boxes_region(instances: InstanceMap, which: Bool[Tensor, " N"]) -> Bool[Tensor, "H W"]:
    """Return True inside the boxes of the chosen slots. Nothing is read back from the device.

    Args:
        instances: slots without pixels have no box.
        which: True for each slot whose box counts.

    Example:
        >>> ids = torch.tensor([[0, 1, 0], [0, 0, 1], [2, 0, 0]], dtype=torch.int32)
        >>> which = torch.tensor([True, False])
        >>> boxes_region(InstanceMap(ids, torch.tensor([3, 0])), which).int().tolist()
        [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    """
    boxes = boxes_xyxy(instances)
    return union_of_boxes(torch.where(which[:, None], boxes, 0), instances.size)


def union_of_boxes(boxes: Int64[Tensor, "N 4"], size: Size) -> Bool[Tensor, "H W"]:
    """Return True inside any of the boxes.

    Every box adds 1 at its top-left corner and past its bottom-right one, and takes it back at the
    other two; summed down and across this counts the boxes over each pixel.

    Args:
        boxes: half-open (left, top, right, bottom) in pixels, within the image; a box without
            area covers nothing.
        size: (height, width) of the image.
    """
    height, width = size
    left, top, right, bottom = boxes.unbind(1)
    starts = torch.cat([top * (width + 1) + left, bottom * (width + 1) + right])
    ends = torch.cat([top * (width + 1) + right, bottom * (width + 1) + left])
    corners = torch.zeros((height + 1) * (width + 1), dtype=torch.int32, device=boxes.device)
    one = torch.ones_like(starts, dtype=torch.int32)
    corners = corners.scatter_add(0, starts, one).scatter_add(0, ends, -one)
    counts = corners.view(height + 1, width + 1).cumsum(0, dtype=torch.int32)
    return counts.cumsum(1, dtype=torch.int32)[:height, :width] > 0
