"""Boolean masks and id maps: outlines, boxes, points inside."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from uda4inst.structures import InstanceMap


def outline(mask: NDArray[Any], *, thickness: int = 1) -> NDArray[np.bool_]:
    """Return True on the pixels of a mask, or of an id map, that touch something else.

    The outline lies inside the objects; two touching objects of an id map both get one. Ids of 0
    and below (background, ignore) have no outline. Beyond the image counts as the same object, so
    that an object cut by the image's border is not closed along it.

    Args:
        mask: a boolean mask (H, W), or integer ids (H, W) with background 0.
        thickness: width of the outline in pixels, at least 1.

    Example:
        >>> outline(np.array([[1, 1, 1, 2, 0]])).astype(int).tolist()
        [[0, 0, 1, 1, 0]]
    """
    ids = mask.astype(np.int32)
    inside = np.pad(ids, thickness, mode="edge")
    height, width = ids.shape
    edge = np.zeros(ids.shape, dtype=bool)
    for shift in range(1, thickness + 1):
        for rows, columns in ((-shift, 0), (shift, 0), (0, -shift), (0, shift)):
            top, left = thickness + rows, thickness + columns
            edge |= inside[top : top + height, left : left + width] != ids
    return edge & (ids > 0)


def boxes_xyxy(instances: InstanceMap) -> Int64[Tensor, "N 4"]:
    """Return the half-open pixel box (left, top, right, bottom) of every slot.

    Slots without pixels get zeros. Nothing leaves the device.

    Example:
        >>> ids = torch.tensor([[0, 2, 2], [0, 0, 2]], dtype=torch.int32)
        >>> boxes_xyxy(InstanceMap(ids, torch.tensor([3, 0]))).tolist()
        [[0, 0, 0, 0], [1, 0, 3, 2]]
    """
    height, width = instances.size
    device = instances.ids.device
    slots = instances.ids.clamp(min=0).long().reshape(-1)
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    sides: list[Tensor] = []
    for place, start, reduce in (
        (columns, width, "amin"),
        (rows, height, "amin"),
        (columns + 1, 0, "amax"),
        (rows + 1, 0, "amax"),
    ):
        side = torch.full((len(instances) + 1,), start, dtype=torch.int64, device=device)
        sides.append(side.scatter_reduce(0, slots, place, reduce)[1:])
    boxes = torch.stack(sides, dim=1)
    filled = (boxes[:, 2] > 0) & (instances.labels >= 0)
    return torch.where(filled[:, None], boxes, torch.zeros_like(boxes))


def box_xywh(mask: NDArray[np.bool_]) -> list[int]:
    """Return [left, top, width, height] of a mask with pixels, as COCO files have it.

    Example:
        >>> box_xywh(np.array([[False, True], [False, True]]))
        [1, 0, 1, 2]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def inner_point(mask: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return (row, column) of the pixel deepest inside a mask, None for an empty one.

    It is where a label can stand: always on the object, unlike the centre of its box.

    Example:
        >>> inner_point(np.ones((3, 3), dtype=bool))
        (1, 1)
    """
    if not mask.any():
        return None
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(row), int(column)
