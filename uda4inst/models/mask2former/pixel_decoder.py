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
    Mask2FormerPixelDecoderEncoderLayer,
    Mask2FormerPixelDecoderOutput,
    Mask2FormerSinePositionEmbedding,
)

from uda4inst.models.mask2former import kernels
from uda4inst.models.mask2former.kernels import uses_kernels
from uda4inst.models.mask2former.norms import CastGroupNorm, CastNorm
from uda4inst.models.mask2former.perceptron import LinearReLU
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
        self._adapt(library)
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
        with torch.autocast(
            lateral.device.type, enabled=not uses_kernels(lateral)
        ):  # float32 inside
            upsampled = F.interpolate(
                outputs[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False
            )
        finest = self.get_submodule("layer_1")(lateral + upsampled)
        return Mask2FormerPixelDecoderOutput(
            multi_scale_features=cast("Any", tuple(outputs)),  # declared as a tuple of one
            mask_features=self.get_submodule("mask_projection")(finest),
        )

    @staticmethod
    def _adapt(library: LibraryPixelDecoder) -> None:
        """Put layers in place that cost a device less; they hold the library's weights."""
        for module in list(library.modules()):
            for name, part in list(module.named_children()):
                if isinstance(part, nn.GroupNorm):
                    module.add_module(name, CastGroupNorm(part))
                elif isinstance(part, nn.LayerNorm):
                    module.add_module(name, CastNorm(part))
            if isinstance(module, Mask2FormerPixelDecoderEncoderLayer):
                assert module.activation_fn is F.relu, "the library has no other here"
                module.fc1 = LinearReLU(module.fc1)
                module.activation_fn = nn.Identity()
        library.position_embedding = cast("Any", Positions(library.position_embedding))

    def _list(self, name: str) -> nn.ModuleList:
        """Return a list of adopted layers."""
        found = self.get_submodule(name)
        assert isinstance(found, nn.ModuleList), "the library keeps these in lists"
        return found


class Positions(nn.Module):
    """Sine positions of a map's cells; on a device once for all images, and never in bf16.

    Args:
        library: what makes them; it has no weights.
    """

    def __init__(self, library: Mask2FormerSinePositionEmbedding) -> None:
        super().__init__()
        self._library = library

    def forward(
        self,
        shape: torch.Size,
        device: torch.device | str,
        dtype: torch.dtype,
        mask: Tensor | None = None,
    ) -> Float[Tensor, "#B D h w"]:
        """Return the positions, as the library does.

        Args:
            shape: of the maps, (images, channels, height, width).
            device: of the maps.
            dtype: of the maps.
            mask: never set.
        """
        if torch.device(device).type not in kernels.REFERENCE_ON:
            shape, dtype = torch.Size((1, *shape[1:])), _wide(dtype)
        return self._library(shape, device, dtype, mask)


def _cells(maps: Float[Tensor, "B D h w"]) -> Float[Tensor, "B S D"]:
    """Return the cells of maps, row by row."""
    return maps.flatten(2).mT


def _reference_points(sizes: Sequence[Size], *, like: Tensor) -> Float[Tensor, "1 S L 2"]:
    """Return the centre of every cell, (x, y) in [0, 1]; the same in every level."""
    points: list[Tensor] = []
    for height, width in sizes:
        rows, columns = (
            torch.linspace(0.5, count - 0.5, count, dtype=_wide(like.dtype), device=like.device)
            / count
            for count in (height, width)
        )
        grid = torch.meshgrid(rows, columns, indexing="ij")
        points.append(torch.stack([grid[1].flatten(), grid[0].flatten()], dim=-1))
    return torch.cat(points)[None, :, None].expand(-1, -1, len(sizes), -1)


def _wide(kind: torch.dtype) -> torch.dtype:
    """Return the type of positions: float32 at least, as bf16 has no two digits after the point."""
    return torch.promote_types(kind, torch.float32)
