"""The sampling of multi-scale deformable attention as one kernel, forward and backward, in Triton.

What `deformable` computes level by level from tensors of samples is here computed in registers: a
program takes one head of some queries, reads the four cells around each of their points, and adds
them up in float32. Nothing but the result is written. The backward pass reads the cells again; what
queries add to the gradient of one cell is added by atomics, in no fixed order.

Importing this module needs `triton`, which torch's CUDA builds bring along, and which is no
requirement of this package; `deformable` imports it when it is asked for. With TRITON_INTERPRET=1,
set before, the kernels run on the CPU, slowly.

Reference: Zhu et al., Deformable DETR, ICLR 2021, sec. 4.1, eq. 3.
"""

# pyright: reportMissingImports=false, reportGeneralTypeIssues=false
# Triton need not be there, and what its compiler reads has other types than Python.

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final, cast

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from uda4inst.structures import Size

# Queries a program takes; chosen by their registers, and not by any card: 32 queries of 32 channels
# are eight values a thread.
QUERIES: Final = 32
WARPS: Final = 4
_TYPES: Final = (torch.float16, torch.bfloat16, torch.float32)


@triton.jit
def _load(place, there):
    """Return what lies there, in float32; 0 where nothing does."""
    return tl.load(place, there, 0.0).to(tl.float32)


@triton.jit
def _corners(x, y, tall, wide, is_query):
    """Return the cell up and left of each point, how far beyond it the point is, and which exist.

    Those are the cell itself, the one right of it, the one below it and the one below and right. A
    point a cell or more outside, or that is not a number, has none of them.
    """
    near = is_query & (x > -1.0) & (x < wide) & (y > -1.0) & (y < tall)
    x = tl.where(near, x, 0.0)
    y = tl.where(near, y, 0.0)
    left = tl.floor(x)
    top = tl.floor(y)
    column = left.to(tl.int32)
    row = top.to(tl.int32)
    has_left = near & (column >= 0)
    has_right = near & (column + 1 < wide)
    has_top = row >= 0
    has_bottom = row + 1 < tall
    return (
        row * wide + column,
        x - left,
        y - top,
        has_top & has_left,
        has_top & has_right,
        has_bottom & has_left,
        has_bottom & has_right,
    )


@triton.jit
def _forward(
    values_ptr,
    centres_ptr,
    offsets_ptr,
    weights_ptr,
    output_ptr,
    sizes,
    values_image,
    values_cell,
    centres_image,
    centres_query,
    centres_level,
    offsets_image,
    offsets_query,
    weights_image,
    weights_query,
    queries,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
):
    head = tl.program_id(0)
    image = tl.program_id(2).to(tl.int64)
    query = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    channel = tl.arange(0, WIDTH)
    is_query = query < queries
    is_channel = (channel < CHANNELS)[None, :]
    centres_ptr += image * centres_image
    offsets_ptr += image * offsets_image + head * (LEVELS * POINTS * 2)
    weights_ptr += image * weights_image + head * (LEVELS * POINTS)
    values_ptr += image * values_image + head * CHANNELS
    centres_at = query * centres_query
    offsets_at = query * offsets_query
    weights_at = query * weights_query

    total = tl.zeros((QUERIES, WIDTH), tl.float32)
    for level in tl.static_range(LEVELS):
        tall = sizes[level][0]
        wide = sizes[level][1]
        centre_at = centres_ptr + centres_at + level * centres_level
        centre_x = _load(centre_at, is_query) * wide - 0.5
        centre_y = _load(centre_at + 1, is_query) * tall - 0.5
        for point in range(POINTS):
            at = level * POINTS + point
            x = centre_x + _load(offsets_ptr + offsets_at + 2 * at, is_query)
            y = centre_y + _load(offsets_ptr + offsets_at + 2 * at + 1, is_query)
            weight = _load(weights_ptr + weights_at + at, is_query)
            cell, right, down, at_00, at_01, at_10, at_11 = _corners(x, y, tall, wide, is_query)
            upper = values_ptr + (cell * values_cell)[:, None] + channel[None, :]
            lower = upper + wide * values_cell
            v_00 = _load(upper, at_00[:, None] & is_channel)
            v_01 = _load(upper + values_cell, at_01[:, None] & is_channel)
            v_10 = _load(lower, at_10[:, None] & is_channel)
            v_11 = _load(lower + values_cell, at_11[:, None] & is_channel)
            above = weight * (1.0 - down)
            below = weight * down
            total += v_00 * (above * (1.0 - right))[:, None] + v_01 * (above * right)[:, None]
            total += v_10 * (below * (1.0 - right))[:, None] + v_11 * (below * right)[:, None]
        values_ptr += tall * wide * values_cell
    row = image * queries + query
    out = output_ptr + row[:, None] * (HEADS * CHANNELS) + head * CHANNELS + channel[None, :]
    tl.store(out, total.to(output_ptr.dtype.element_ty), is_query[:, None] & is_channel)


@triton.jit
def _backward(
    gradient_ptr,
    values_ptr,
    centres_ptr,
    offsets_ptr,
    weights_ptr,
    to_values_ptr,
    to_offsets_ptr,
    to_weights_ptr,
    sizes,
    values_image,
    values_cell,
    centres_image,
    centres_query,
    centres_level,
    offsets_image,
    offsets_query,
    weights_image,
    weights_query,
    queries,
    cells,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
):
    head = tl.program_id(0)
    image = tl.program_id(2).to(tl.int64)
    step: tl.constexpr = HEADS * CHANNELS
    query = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    channel = tl.arange(0, WIDTH)
    is_query = query < queries
    is_channel = (channel < CHANNELS)[None, :]
    centres_ptr += image * centres_image
    offsets_ptr += image * offsets_image + head * (LEVELS * POINTS * 2)
    weights_ptr += image * weights_image + head * (LEVELS * POINTS)
    values_ptr += image * values_image + head * CHANNELS
    to_values_ptr += image * cells * step + head * CHANNELS
    centres_at = query * centres_query
    offsets_at = query * offsets_query
    weights_at = query * weights_query
    row = image * queries + query
    to_offsets_at = (row * HEADS + head) * (LEVELS * POINTS * 2)
    to_weights_at = (row * HEADS + head) * (LEVELS * POINTS)
    gradient_at = row[:, None] * step + head * CHANNELS + channel[None, :]
    gradient = _load(gradient_ptr + gradient_at, is_query[:, None] & is_channel)

    for level in tl.static_range(LEVELS):
        tall = sizes[level][0]
        wide = sizes[level][1]
        centre_at = centres_ptr + centres_at + level * centres_level
        centre_x = _load(centre_at, is_query) * wide - 0.5
        centre_y = _load(centre_at + 1, is_query) * tall - 0.5
        for point in range(POINTS):
            at = level * POINTS + point
            x = centre_x + _load(offsets_ptr + offsets_at + 2 * at, is_query)
            y = centre_y + _load(offsets_ptr + offsets_at + 2 * at + 1, is_query)
            weight = _load(weights_ptr + weights_at + at, is_query)
            cell, right, down, at_00, at_01, at_10, at_11 = _corners(x, y, tall, wide, is_query)
            in_00 = at_00[:, None] & is_channel
            in_01 = at_01[:, None] & is_channel
            in_10 = at_10[:, None] & is_channel
            in_11 = at_11[:, None] & is_channel
            upper = values_ptr + (cell * values_cell)[:, None] + channel[None, :]
            lower = upper + wide * values_cell
            g_00 = tl.sum(_load(upper, in_00) * gradient, 1)
            g_01 = tl.sum(_load(upper + values_cell, in_01) * gradient, 1)
            g_10 = tl.sum(_load(lower, in_10) * gradient, 1)
            g_11 = tl.sum(_load(lower + values_cell, in_11) * gradient, 1)
            g_above = g_00 + (g_01 - g_00) * right
            g_below = g_10 + (g_11 - g_10) * right
            to_weight = g_above + (g_below - g_above) * down
            to_x = weight * ((g_01 - g_00) * (1.0 - down) + (g_11 - g_10) * down)
            to_y = weight * (g_below - g_above)
            tl.store(
                to_offsets_ptr + to_offsets_at + 2 * at,
                to_x.to(to_offsets_ptr.dtype.element_ty),
                is_query,
            )
            tl.store(
                to_offsets_ptr + to_offsets_at + 2 * at + 1,
                to_y.to(to_offsets_ptr.dtype.element_ty),
                is_query,
            )
            tl.store(
                to_weights_ptr + to_weights_at + at,
                to_weight.to(to_weights_ptr.dtype.element_ty),
                is_query,
            )
            to_upper = to_values_ptr + (cell * step)[:, None] + channel[None, :]
            to_lower = to_upper + wide * step
            above = weight * (1.0 - down)
            below = weight * down
            part = gradient * (above * (1.0 - right))[:, None]
            tl.atomic_add(to_upper, part, in_00, sem="relaxed")
            part = gradient * (above * right)[:, None]
            tl.atomic_add(to_upper + step, part, in_01, sem="relaxed")
            part = gradient * (below * (1.0 - right))[:, None]
            tl.atomic_add(to_lower, part, in_10, sem="relaxed")
            part = gradient * (below * right)[:, None]
            tl.atomic_add(to_lower + step, part, in_11, sem="relaxed")
        values_ptr += tall * wide * values_cell
        to_values_ptr += tall * wide * step


def sample(
    values: Float[Tensor, "B S H D"],
    centres: Float[Tensor, "#B Q L 2"],
    offsets: Float[Tensor, "B Q H L P 2"],
    weights: Float[Tensor, "B Q H L P"],
    sizes: Sequence[Size],
) -> Float[Tensor, "B Q HD"]:
    """Return every head's values at the points of each query, bilinear, weighted and summed.

    A point lies at its query's centre plus its offset; values are 0 outside a level. Sums are
    float32, the result is of the type of `values`. Values, offsets and weights get gradients,
    centres none.

    Args:
        values: cells of all levels one after another, row by row; of float16, bfloat16 or float32,
            as everything here.
        centres: (x, y) in [0, 1] of each query in each level, 0 and 1 being the level's edges; one
            for all images if there is one.
        offsets: (x, y) from the centre, in cells of the level.
        weights: of the points, over all levels.
        sizes: (height, width) of the levels.

    Raises:
        ValueError: shapes, types or devices do not go together, or centres need a gradient.
    """
    _check(values, centres, offsets, weights, sizes)
    return _sampling(
        _packed(values, 2),
        _packed(centres, 3).expand(len(values), -1, -1, -1),
        _packed(offsets, 2),
        _packed(weights, 2),
        [side for size in sizes for side in size],
    )


def _check(
    values: Tensor, centres: Tensor, offsets: Tensor, weights: Tensor, sizes: Sequence[Size]
) -> None:
    """Refuse what the kernels would read wrongly."""
    given = {"values": values, "centres": centres, "offsets": offsets, "weights": weights}
    told = ", ".join(f"{name} {tuple(t.shape)} {t.dtype}" for name, t in given.items())
    shapes_fit = values.ndim == 4 and offsets.ndim == 6
    if shapes_fit:
        images, queries, heads, levels, points, _ = offsets.shape
        shapes_fit = (
            values.shape
            == (images, sum(tall * wide for tall, wide in sizes), heads, values.shape[3])
            and offsets.shape[5] == 2
            and weights.shape == (images, queries, heads, levels, points)
            and centres.shape in ((images, queries, levels, 2), (1, queries, levels, 2))
            and len(sizes) == levels
        )
    if not shapes_fit:
        raise ValueError(
            "values, centres, offsets and weights must be (B, S, H, D), (B or 1, Q, L, 2), "
            "(B, Q, H, L, P, 2) and (B, Q, H, L, P), with L sizes of S cells together, got "
            f"{told}, sizes {list(sizes)}."
        )
    if not all(t.dtype in _TYPES and t.device == values.device for t in given.values()):
        devices = ", ".join(str(t.device) for t in given.values())
        raise ValueError(
            "values, centres, offsets and weights must be float16, bfloat16 or float32 and on one "
            f"device, got {told}, on {devices}."
        )
    if centres.requires_grad:
        raise ValueError("centres must not need a gradient, which the kernel has not; detach them.")


def _packed(tensor: Tensor, dim: int) -> Tensor:
    """Return a tensor whose dimensions from `dim` on lie without gaps, as the kernels read them."""
    step = 1
    for size, stride in zip(
        tensor.shape[: dim - 1 : -1], tensor.stride()[: dim - 1 : -1], strict=True
    ):
        if size != 1 and stride != step:
            return tensor.contiguous()
        step *= size
    return tensor


# Operations of torch's own dispatcher: whatever counts or imitates operations sees one each.


@torch.library.custom_op(
    "uda4inst::deformable_sampling",
    mutates_args=(),
    schema="(Tensor values, Tensor centres, Tensor offsets, Tensor weights, int[] sizes) -> Tensor",
)
def _sampling(
    values: Tensor, centres: Tensor, offsets: Tensor, weights: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Run the forward kernel; inputs lie as `_packed` leaves them."""
    output = _output(values, centres, offsets, weights, sizes)
    if output.numel():
        with torch.cuda.device_of(values):
            cast("Any", _forward)[_grid(offsets)](
                values,
                centres,
                offsets,
                weights,
                output,
                **_layout(values, centres, offsets, weights, sizes),
            )
    return output


@_sampling.register_fake
def _output(
    values: Tensor, centres: Tensor, offsets: Tensor, weights: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Return room for the result."""
    del centres, weights, sizes
    return values.new_empty((*offsets.shape[:2], values.shape[2] * values.shape[3]))


@torch.library.custom_op(
    "uda4inst::deformable_sampling_backward",
    mutates_args=("to_values",),
    schema="(Tensor gradient, Tensor values, Tensor centres, Tensor offsets, Tensor weights, "
    "Tensor(a!) to_values, int[] sizes) -> (Tensor, Tensor)",
)
def _sampling_backward(
    gradient: Tensor,
    values: Tensor,
    centres: Tensor,
    offsets: Tensor,
    weights: Tensor,
    to_values: Tensor,
    sizes: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Run the backward kernel: add to the gradient of values, return the others."""
    to_offsets, to_weights = _gradients(
        gradient, values, centres, offsets, weights, to_values, sizes
    )
    if gradient.numel():
        with torch.cuda.device_of(values):
            cast("Any", _backward)[_grid(offsets)](
                gradient,
                values,
                centres,
                offsets,
                weights,
                to_values,
                to_offsets,
                to_weights,
                cells=values.shape[1],
                **_layout(values, centres, offsets, weights, sizes),
            )
    return to_offsets, to_weights


@_sampling_backward.register_fake
def _gradients(
    gradient: Tensor,
    values: Tensor,
    centres: Tensor,
    offsets: Tensor,
    weights: Tensor,
    to_values: Tensor,
    sizes: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Return room for the gradients of offsets and weights."""
    del gradient, values, centres, to_values, sizes
    return offsets.new_empty(offsets.shape), weights.new_empty(weights.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what the backward pass reads again."""
    del output
    *tensors, ctx.sizes = inputs
    ctx.save_for_backward(*tensors)


def _derive(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of values, offsets and weights."""
    if torch.are_deterministic_algorithms_enabled():  # as torch does for its own
        told = "The gradient of the deformable attention's Triton kernel never repeats to the bit."
        if not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError(f"{told} Set model.deformable_kernel=torch.")
        warnings.warn(told, stacklevel=2)
    values, centres, offsets, weights = ctx.saved_tensors
    to_values = torch.zeros(values.shape, dtype=torch.float32, device=values.device)
    to_offsets, to_weights = _sampling_backward(
        gradient.contiguous(), values, centres, offsets, weights, to_values, ctx.sizes
    )
    return to_values.to(values.dtype), None, to_offsets, to_weights, None


_sampling.register_autograd(_derive, setup_context=_keep)


def _grid(offsets: Tensor) -> tuple[int, int, int]:
    """Return how many programs there are: heads, groups of queries, images."""
    images, queries, heads = offsets.shape[:3]
    return heads, -(-queries // QUERIES), images


def _layout(
    values: Tensor, centres: Tensor, offsets: Tensor, weights: Tensor, sizes: Sequence[int]
) -> dict[str, Any]:
    """Return where the kernels find what, by the names of their parameters."""
    _, queries, heads, levels, points, _ = offsets.shape
    channels = values.shape[3]
    return {
        "sizes": tuple(zip(sizes[::2], sizes[1::2], strict=True)),
        "values_image": values.stride(0),
        "values_cell": values.stride(1),
        "centres_image": centres.stride(0),
        "centres_query": centres.stride(1),
        "centres_level": centres.stride(2),
        "offsets_image": offsets.stride(0),
        "offsets_query": offsets.stride(1),
        "weights_image": weights.stride(0),
        "weights_query": weights.stride(1),
        "queries": queries,
        "HEADS": heads,
        "LEVELS": levels,
        "POINTS": points,
        "CHANNELS": channels,
        "WIDTH": triton.next_power_of_2(channels),
        "QUERIES": QUERIES,
        "num_warps": WARPS,
    }
