"""The pixel decoder, on the library's own layers: features of all scales, and one map for masks.

The same function as the library's, for images without padding: that one makes tables of level sizes
and of padded cells on the device in every call, and the host waits for each of them.

Reference: Cheng et al., Masked-attention Mask Transformer, CVPR 2022, sec. 3.2.1 and appendix A.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder as LibraryPixelDecoder,
)
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderOutput,
)

from uda4inst.structures import Size

LEVELS: Final = 3  # strides 32, 16, 8; stride 4 is added by the pyramid


class PixelDecoder(nn.Module):
    """Takes the place of the library's module, whose layers it adopts under the same names.

    Args:
        library: where the layers come from.
    """

    def __init__(self, library: LibraryPixelDecoder) -> None:
        super().__init__()
        self.level_embed = library.level_embed
        for name, child in library.named_children():
            self.add_module(name, child)

    def forward(
        self, features: Sequence[Float[Tensor, "B _ _ _"]], **_: Any
    ) -> Mask2FormerPixelDecoderOutput:
        """Return features of the three coarse scales, coarsest first, and the map for masks.

        Args:
            features: of the backbone, finest (stride 4) first.
            _: what the library passes beside: whether to return what nobody reads.
        """
        coarse = features[::-1][:LEVELS]
        projections = self._list("input_projections")
        scales = [project(x) for project, x in zip(projections, coarse, strict=True)]
        sizes: list[Size] = [(x.shape[2], x.shape[3]) for x in scales]
        where = self.get_submodule("position_embedding")
        positions = torch.cat(
            [
                _cells(where(x.shape, x.device, x.dtype)) + self.level_embed[level].view(1, 1, -1)
                for level, x in enumerate(coarse)
            ],
            dim=1,
        )
        hidden = torch.cat([_cells(x) for x in scales], dim=1)
        reference = _reference_points(sizes, like=hidden)
        for layer in self._list("encoder.layers"):
            hidden = layer(
                hidden,
                attention_mask=None,
                position_embeddings=positions,
                reference_points=reference,
                spatial_shapes_list=sizes,
                level_start_index=None,
                output_attentions=False,
            )[0]
        parts = hidden.split([height * width for height, width in sizes], dim=1)
        outputs = [
            part.mT.reshape(len(part), -1, *size) for part, size in zip(parts, sizes, strict=True)
        ]
        lateral = self.get_submodule("adapter_1")(features[0])
        upsampled = F.interpolate(
            outputs[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False
        )
        finest = self.get_submodule("layer_1")(lateral + upsampled)
        return Mask2FormerPixelDecoderOutput(
            multi_scale_features=cast("Any", tuple(outputs)),  # declared as a tuple of one
            mask_features=self.get_submodule("mask_projection")(finest),
        )

    def _list(self, name: str) -> nn.ModuleList:
        """Return a list of adopted layers."""
        found = self.get_submodule(name)
        assert isinstance(found, nn.ModuleList), "the library keeps these in lists"
        return found


def _cells(maps: Float[Tensor, "B D h w"]) -> Float[Tensor, "B S D"]:
    """Return the cells of maps, row by row."""
    return maps.flatten(2).mT


def _reference_points(sizes: Sequence[Size], *, like: Tensor) -> Float[Tensor, "1 S L 2"]:
    """Return the centre of every cell, (x, y) in [0, 1]; the same in every level."""
    points: list[Tensor] = []
    for height, width in sizes:
        rows, columns = (
            torch.linspace(0.5, count - 0.5, count, dtype=like.dtype, device=like.device) / count
            for count in (height, width)
        )
        grid = torch.meshgrid(rows, columns, indexing="ij")
        points.append(torch.stack([grid[1].flatten(), grid[0].flatten()], dim=-1))
    return torch.cat(points)[None, :, None].expand(-1, -1, len(sizes), -1)
