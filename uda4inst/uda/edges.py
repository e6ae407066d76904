"""The rims of masks."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F


def boundary_band(mask: Bool[Tensor, "*B H W"]) -> Bool[Tensor, "*B H W"]:
    """Return where a 2x2 window holds pixels of both sides of a mask: dilated, but not eroded.

    A pixel's window is itself and its neighbours above, left and above left; what lies beyond the
    image is no side. An edge that is straight in either direction is one pixel wide.

    Reference: the edge term of EHTDI's later code (commit 862502b).

    Example:
        >>> import torch
        >>> boundary_band(torch.tensor([[False, True, True, False]])).tolist()
        [[False, True, False, True]]
    """
    height, width = mask.shape[-2:]
    flat = mask.reshape(-1, 1, height, width)
    grown = F.pad(flat.float(), (1, 0, 1, 0), mode="replicate") > 0
    corners = [
        grown[..., top : top + height, left : left + width] for top in (0, 1) for left in (0, 1)
    ]
    some = corners[0] | corners[1] | corners[2] | corners[3]
    every = corners[0] & corners[1] & corners[2] & corners[3]
    return (some & ~every).view(mask.shape)
