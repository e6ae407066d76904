"""Multi-scale deformable attention of the pixel decoder, on the library's own weights.

The same function as the library's, written for the device: the library copies a table of level
sizes to the device in every call, which stops the host each time, and gathers the samples of all
levels and points in one tensor before it sums them; here each level is summed by itself.

Reference: Zhu et al., Deformable DETR, ICLR 2021, sec. 4.1, eq. 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as LibraryAttention,
)

from uda4inst.structures import Size


class DeformableAttention(nn.Module):
    """Takes the place of the library's module, whose layers it adopts under the same names.

    Args:
        library: where the layers and sizes come from.
    """

    def __init__(self, library: LibraryAttention) -> None:
        super().__init__()
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
        """
        images, cells, width = hidden_states.shape
        queries = hidden_states + position_embeddings
        values = self.value_proj(encoder_hidden_states).mT
        values = values.reshape(images * self.heads, width // self.heads, cells)
        # (B, heads, L, P, S, 2) and (B, heads, L, P, S): cells last, so that sums run along memory
        grouped = (images, cells, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(queries).view(*grouped, 2).permute(0, 2, 3, 4, 1, 5)
        weights = self.attention_weights(queries).view(*grouped[:3], -1).softmax(-1)
        weights = weights.view(grouped).permute(0, 2, 3, 4, 1)
        centre = (2.0 * reference_points - 1.0).permute(0, 2, 3, 1)[:, :, :, None, None]
        output = values.new_zeros(())
        start = 0
        for level, (tall, wide) in enumerate(spatial_shapes_list):
            x, y = offsets[:, :, level].unbind(-1)
            grid = torch.stack(
                [
                    torch.add(centre[:, level, 0], x, alpha=2.0 / wide),
                    torch.add(centre[:, level, 1], y, alpha=2.0 / tall),
                ],
                dim=-1,
            ).flatten(0, 1)
            plane = values[:, :, start : start + tall * wide].unflatten(2, (tall, wide))
            sampled = F.grid_sample(plane, grid.to(plane.dtype), align_corners=False)
            output = output + (sampled * weights[:, :, level].flatten(0, 1)[:, None]).sum(2)
            start += tall * wide
        return self.output_proj(output.view(images, width, cells).mT), None
