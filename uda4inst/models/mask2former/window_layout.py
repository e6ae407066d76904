"""Where the cells of feature maps lie when they are cut into windows, and the cutting itself.

The library pads a map, rolls it, cuts it and copies it for each of these; here every cell is
written to its place in a window at once, and read from there at once. Windows come in an order in
which those that a shift leaves whole stand first: only the others, along the lower and the right
border, hold cells that must not see each other.

Reference: Liu et al., Swin Transformer, ICCV 2021, sec. 3.2 and figure 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from uda4inst.structures import Size


@dataclass(frozen=True, slots=True, eq=False)
class WindowLayout:
    """Places of the cells of B maps in their N windows of L cells.

    Args:
        slots: place of every cell among the windows' cells, images and rows one after the other.
        padding: places that no cell takes.
        windows: how many windows there are (N).
        whole: how many of them, the first ones, a shift leaves whole; all of them without a shift.
        mask: added to the scores of the other windows of one image: 0 or -100, as the library has
            it; None without a shift.
    """

    slots: Int64[Tensor, " BS"]
    padding: Int64[Tensor, " P"]
    windows: int
    whole: int
    mask: Float[Tensor, "W L L"] | None


@lru_cache(maxsize=32)
def window_layout(
    images: int, size: Size, *, side: int, shift: int, device: torch.device
) -> WindowLayout:
    """Return where cells lie; made once for each size, 8 bytes a cell.

    Args:
        images: number of maps (B).
        size: (height, width) of a map in cells.
        side: of a window, in cells.
        shift: by how many cells windows are moved down and to the right; 0 for none.
        device: of the cells.
    """
    with torch.inference_mode(False), torch.no_grad():
        down, across = (-(-cells // side) for cells in size)  # windows
        row, column = (
            (torch.arange(count * side, device=device) - shift) % (count * side)
            for count in (down, across)
        )
        row, column = row[:, None], column[None]  # of the padded map, once it is shifted
        tall, wide = row // side, column // side
        inner = (down - 1, across - 1) if shift else (down, across)
        whole = inner[0] * inner[1]  # windows of one image
        window = torch.where(
            (tall < inner[0]) & (wide < inner[1]),
            tall * inner[1] + wide,
            images * whole + torch.where(tall < inner[0], tall, inner[0] + wide),
        )
        image = torch.arange(images, device=device)[:, None, None]
        window = window + image * torch.where(window < images * whole, whole, down * across - whole)
        slot = window * side**2 + row % side * side + column % side
        height, width = size
        return WindowLayout(
            slots=slot[:, :height, :width].flatten(),
            padding=torch.cat([slot[:, :height, width:].flatten(), slot[:, height:].flatten()]),
            windows=images * down * across,
            whole=images * whole,
            mask=_border_mask(down, across, side=side, shift=shift, device=device)
            if shift
            else None,
        )


def cut(cells: Float[Tensor, "B S C"], layout: WindowLayout) -> Float[Tensor, "N L C"]:
    """Return the cells window by window, 0 where there is none."""
    return _Cut.apply(cells, layout)


def joined(
    windows: Float[Tensor, "N L C"], layout: WindowLayout, images: int
) -> Float[Tensor, "B S C"]:
    """Return the cells of windows image by image."""
    return _Joined.apply(windows, layout, images)


class _Cut(torch.autograd.Function):
    """Cells to windows; the gradient goes back the same way."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, layout: WindowLayout) -> Tensor:
        ctx.layout, ctx.images = layout, len(cells)
        return _written(cells, layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _read(gradients[0], ctx.layout, ctx.images), None


class _Joined(torch.autograd.Function):
    """Windows to cells; padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor, layout: WindowLayout, images: int) -> Tensor:
        ctx.layout = layout
        return _read(windows, layout, images)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _written(gradients[0], ctx.layout), None, None


def _written(cells: Tensor, layout: WindowLayout) -> Float[Tensor, "N L C"]:
    """Write every cell to its place."""
    places = len(layout.slots) + len(layout.padding)
    windows = cells.new_empty((places, cells.shape[-1]))
    windows.index_copy_(0, layout.slots, cells.flatten(0, 1))
    windows.index_fill_(0, layout.padding, 0)
    return windows.unflatten(0, (layout.windows, -1))


def _read(windows: Tensor, layout: WindowLayout, images: int) -> Float[Tensor, "B S C"]:
    """Read every cell from its place."""
    return windows.flatten(0, 1).index_select(0, layout.slots).unflatten(0, (images, -1))


def _border_mask(
    down: int, across: int, *, side: int, shift: int, device: torch.device
) -> Float[Tensor, "W L L"]:
    """Return the mask of an image's windows along the border: right column, then bottom row."""
    right = torch.arange(down + across - 1, device=device) < down - 1
    within = torch.arange(side, device=device) >= side - shift  # beyond the seam
    is_bottom, is_right = ~right, right.clone()
    is_right[-1] = True
    below = (is_bottom[:, None] & within)[:, :, None]
    beside = (is_right[:, None] & within)[:, None]
    parts = (2 * below.long() + beside).flatten(1)  # of a window, not neighbours of each other
    return torch.where(parts[:, None] == parts[:, :, None], 0.0, -100.0)
