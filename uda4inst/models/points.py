"""Values of mask logits and of id maps at points, bilinear, without building masks.

A point is (x, y) in [0, 1) of the padded image. Semantics are those of `torch.grid_sample` with
`align_corners=False` and zero padding, on the mask "id equals k": the value at a point is the
bilinear share of its four neighbour cells that belong to k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Flat cell indices and bilinear weights of the four neighbours of every point.

    Args:
        index: y * width + x, clamped into the map.
        weight: bilinear share; 0 for a neighbour outside the map.
    """

    index: Int64[Tensor, "*points 4"]
    weight: Float32[Tensor, "*points 4"]


def neighbours(
    points: Float32[Tensor, "*points 2"], size: tuple[int, int], padded: tuple[int, int]
) -> Neighbours:
    """Return the four neighbour cells of each point in a map that is the top-left of a padded one.

    Args:
        points: (x, y) in [0, 1] of the padded extent.
        size: (height, width) of the map.
        padded: (height, width) that the points' unit square covers.
    """
    height, width = size
    # grid_sample's own arithmetic (to [-1, 1] and back), so that rounding is the same
    scale = points.new_tensor([padded[1], padded[0]])
    position = ((2.0 * points - 1.0 + 1.0) * scale - 1.0) / 2.0
    corner = position.floor()
    share = position - corner
    x, y = corner[..., 0].long(), corner[..., 1].long()
    x = torch.stack([x, x + 1, x, x + 1], dim=-1)
    y = torch.stack([y, y, y + 1, y + 1], dim=-1)
    right, down = share[..., 0:1], share[..., 1:2]
    across = torch.cat([1 - right, right, 1 - right, right], dim=-1)
    along = torch.cat([1 - down, 1 - down, down, down], dim=-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return Neighbours(index=index, weight=across * along * inside)


def sample_logits(
    logits: Float[Tensor, "K C h w"], points: Float32[Tensor, "K P 2"]
) -> Float32[Tensor, "K C P"]:
    """Return logits at points, bilinear."""
    grid = 2.0 * points[:, :, None] - 1.0
    return F.grid_sample(logits.float(), grid, align_corners=False)[..., 0]
