"""Multi-scale deformable attention of the pixel decoder, on the library's own weights.

The same function as the library's, written for the device: the library copies a table of level
sizes to the device in every call, which stops the host each time, and gathers the samples of all
levels and points in one tensor before it sums them; here each level is summed by itself. Off the
CPU the samples, the largest part by far, are not kept for the backward pass but taken again, and
they are taken in float32 under bf16 autocast too, as in the authors' code: a coordinate of a level
128 cells wide would lose up to a quarter of a cell in bf16. Where it is asked for, a kernel in
Triton (`deformable_triton`) does the same in one operation that writes no samples at all.

Reference: Zhu et al., Deformable DETR, ICLR 2021, sec. 4.1, eq. 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as LibraryAttention,
)

from uda4inst.errors import UserError
from uda4inst.models.mask2former.kernels import DeformableKernel, uses_kernels
from uda4inst.structures import Size


class DeformableAttention(nn.Module):
    """Takes the place of the library's module, whose layers it adopts under the same names.

    Args:
        library: where the layers and sizes come from.
        remakes: whether samples are taken again in the backward pass.
        kernel: what samples off the CPU; on one it is always "torch".

    Raises:
        ValueError: there is no such kernel.
    """

    def __init__(
        self,
        library: LibraryAttention,
        *,
        remakes: bool = True,
        kernel: DeformableKernel = "torch",
    ) -> None:
        super().__init__()
        if kernel not in get_args(DeformableKernel):
            known = " or ".join(get_args(DeformableKernel))
            raise ValueError(f"kernel must be {known}, got {kernel!r}.")
        self.remakes = remakes
        self.kernel: DeformableKernel = kernel
        self.heads: int = library.n_heads
        self.levels: int = library.n_levels
        self.points: int = library.n_points
        self.sampling_offsets = library.sampling_offsets
        self.attention_weights = library.attention_weights
        self.value_proj = library.value_proj
        self.output_proj = library.output_proj

    def forward(
        self,
        hidden_states: Float[Tensor, "B S D"],
        *,
        encoder_hidden_states: Float[Tensor, "B S D"],
        position_embeddings: Float[Tensor, "B S D"],
        reference_points: Float[Tensor, "B S L 2"],
        spatial_shapes_list: Sequence[Size],
        **_: Any,
    ) -> tuple[Float[Tensor, "B S D"], None]:
        """Return the attended features; the weights are not returned.

        Args:
            hidden_states: cells of all levels, the queries.
            encoder_hidden_states: the same cells, the values.
            position_embeddings: added to the queries.
            reference_points: (x, y) in [0, 1] of each cell in each level.
            spatial_shapes_list: (height, width) of the levels.
            _: what the library passes beside: a mask of padding, which is never set, and flags.

        Raises:
            UserError: the kernel is "triton", and it is not installed.
        """
        images, cells, width = hidden_states.shape
        queries = hidden_states + position_embeddings  # first: gradients add up in this order
        values = self.value_proj(encoder_hidden_states)
        offsets, weights = self._where(queries)
        if self.kernel == "triton" and uses_kernels(values):
            values = values.unflatten(2, (self.heads, -1))
            sums = triton_sampling()(
                values, reference_points, offsets, weights, spatial_shapes_list
            )
            return self.output_proj(sums), None
        # cells last, so that sums run along memory
        offsets, weights = offsets.permute(0, 2, 3, 4, 1, 5), weights.permute(0, 2, 3, 4, 1)
        values = values.mT.reshape(images * self.heads, width // self.heads, cells)
        centre = (2.0 * reference_points - 1.0).permute(0, 2, 3, 1)[:, :, :, None, None]
        lean = uses_kernels(values)
        output = values.new_zeros(())
        start = 0
        for level, size in enumerate(spatial_shapes_list):
            plane = values[:, :, start : start + size[0] * size[1]]
            inputs = (plane, offsets[:, :, level], weights[:, :, level], centre[:, level], size)
            if lean and self.remakes and torch.is_grad_enabled():
                sums = checkpoint(_sampled, *inputs, use_reentrant=False, preserve_rng_state=False)
            else:
                sums = _sampled(*inputs)
            output = output + sums
            start += size[0] * size[1]
        return self.output_proj(output.view(images, width, cells).mT), None

    def _where(
        self, queries: Float[Tensor, "B S D"]
    ) -> tuple[Float[Tensor, "B S H L P 2"], Float[Tensor, "B S H L P"]]:
        """Return offsets in cells, and weights."""
        layers = (self.sampling_offsets, self.attention_weights)
        if uses_kernels(queries):  # one product: the queries are cast and kept once
            both = F.linear(
                queries,
                torch.cat([layer.weight for layer in layers]),
                torch.cat([layer.bias for layer in layers]),
            )
            offsets, weights = both.split([layer.out_features for layer in layers], dim=-1)
        else:
            offsets, weights = (layer(queries) for layer in layers)
        grouped = (self.heads, self.levels, self.points)
        weights = weights.unflatten(-1, (self.heads, -1)).softmax(-1)
        return offsets.unflatten(-1, (*grouped, 2)), weights.unflatten(-1, grouped[1:])


def triton_sampling() -> Callable[..., Float[Tensor, "B S D"]]:
    """Return the sampling in Triton, `deformable_triton.sample`.

    Raises:
        UserError: Triton is not installed.
    """
    try:
        from uda4inst.models.mask2former.deformable_triton import sample
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise UserError(
            "model.deformable_kernel must be torch where Triton is not installed, got triton. "
            "Install it (pip install triton; torch's CUDA builds for Linux bring it along), or set "
            "model.deformable_kernel=torch."
        ) from error
    return sample


def _sampled(
    plane: Float[Tensor, "BH D hw"],
    offsets: Float[Tensor, "B H P S 2"],
    weights: Float[Tensor, "B H P S"],
    centre: Float[Tensor, "B 2 S 1 1"],
    size: Size,
) -> Float[Tensor, "BH D S"]:
    """Return what one level adds: its values at the points, weighted and summed."""
    tall, wide = size
    x, y = offsets.unbind(-1)
    grid = torch.stack(
        [
            torch.add(centre[:, 0], x, alpha=2.0 / wide),
            torch.add(centre[:, 1], y, alpha=2.0 / tall),
        ],
        dim=-1,
    ).flatten(0, 1)
    plane = plane.float() if uses_kernels(plane) else plane
    sampled = F.grid_sample(plane.unflatten(2, size), grid.to(plane.dtype), align_corners=False)
    return (sampled * weights.flatten(0, 1)[:, None]).sum(2)
