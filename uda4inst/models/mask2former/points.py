"""Values of mask logits and of id maps at points, bilinear, without building masks.

A point is (x, y) in [-1, 1] of the padded image, the unit of `torch.grid_sample`. Semantics are its
own, with `align_corners=False` and zero padding, on the mask "id equals k": the value at a point
is the bilinear share of its four neighbour pixels that belong to k.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from torch.nn import functional as F

from uda4inst.structures import IGNORE_ID, Size


def random_points(
    *count: int, device: torch.device, generator: torch.Generator | None
) -> Float32[Tensor, "*count 2"]:
    """Draw points uniformly from the padded image."""
    return 2.0 * torch.rand((*count, 2), device=device, generator=generator) - 1.0


def sample_logits(
    logits: Float32[Tensor, "K C h w"], points: Float32[Tensor, "K P 2"]
) -> Float32[Tensor, "K C P"]:
    """Return logits at points, bilinear."""
    return F.grid_sample(logits, points[:, :, None], align_corners=False)[..., 0]


def sample_slots(
    ids: Int64[Tensor, "B HW"],
    points: Float32[Tensor, "B P 2"],
    *,
    slots: int,
    size: Size,
    padded: Size,
) -> tuple[Float32[Tensor, "B N P"], Float32[Tensor, "B P"]]:
    """Return the mask of every slot at points, and where to look.

    Args:
        ids: id maps, flattened.
        points: per image.
        slots: how many slots (N); slot n is id n + 1.
        size: (height, width) of the id maps, the top-left part of
        padded: (height, width) that [-1, 1] covers.

    Returns:
        Share of each slot at each point, and 0 at points that touch an ignore pixel, else 1.
    """
    height, width = size
    images, count = points.shape[:2]
    # grid_sample's own arithmetic, so that rounding is the same
    x = ((points[..., 0] + 1.0) * padded[1] - 1.0) / 2.0
    y = ((points[..., 1] + 1.0) * padded[0] - 1.0) / 2.0
    left, top = x.floor(), y.floor()
    shares = points.new_zeros((images, slots + 2, count))
    for row, along in ((top, 1.0 - (y - top)), (top + 1.0, y - top)):
        for column, across in ((left, 1.0 - (x - left)), (left + 1.0, x - left)):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            pixel = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
            slot = ids.gather(1, pixel) - IGNORE_ID
            shares.scatter_add_(1, slot[:, None], (along * across * inside)[:, None])
    return shares[:, 2:], (shares[:, 0] == 0).float()


def pixels_at(
    values: Bool[Tensor, "B HW"], points: Float32[Tensor, "B P 2"], *, size: Size, padded: Size
) -> Bool[Tensor, "B P"]:
    """Return the value of the pixel that each point lies in, True in the padding.

    Args:
        values: of pixels, flattened.
        points: per image.
        size: (height, width) of the values, the top-left part of
        padded: (height, width) that [-1, 1] covers.
    """
    height, width = size
    column = ((points[..., 0] + 1.0) * (padded[1] / 2)).floor().long()
    row = ((points[..., 1] + 1.0) * (padded[0] / 2)).floor().long()
    pixel = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    return values.gather(1, pixel) | (column >= width) | (row >= height)
