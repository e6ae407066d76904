"""Swin's blocks and patch merging for a device, on the library's own weights.

On a CPU the library's modules run as they are. On a device the same functions in fewer passes over
memory: cells are written into their windows and read from them at once (`window_layout`), norms
return the type of the product behind them (`norms`), and a dropped path is scaled and added in one
operation, in float32.

Reference: Liu et al., Swin Transformer, ICCV 2021, sec. 3.1, eq. 3.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BackboneOutput
from transformers.models.swin.modeling_swin import (
    SwinBackbone,
    SwinLayer,
    SwinPatchMerging,
)

from uda4inst.models.mask2former.kernels import uses_kernels
from uda4inst.models.mask2former.norms import CastNorm
from uda4inst.models.mask2former.window_layout import cut, joined, window_layout
from uda4inst.models.mask2former.windows import FeedForward, WindowAttention
from uda4inst.models.recompute import Recomputed
from uda4inst.structures import Size


class Backbone(nn.Module):
    """Swin with a norm on the features of every stage.

    It adopts the library's layers under their names, and so do its parts. On a device features stay
    in the order in which blocks have them, a cell's channels side by side (torch's channels_last),
    and are not copied to another and back.

    Args:
        library: where the layers come from.
        recompute: compute blocks again in the backward pass instead of keeping what is large.
    """

    def __init__(self, library: SwinBackbone, *, recompute: bool) -> None:
        super().__init__()
        swin: Any = library.swin
        swin.layernorm = nn.Identity()  # the classifier's: never gets a gradient
        swin.embeddings.norm = CastNorm(swin.embeddings.norm)
        for stage in swin.encoder.layers:
            blocks = [Block(block, remakes=not recompute) for block in stage.blocks]
            stage.blocks = nn.ModuleList(map(Recomputed, blocks) if recompute else blocks)
            if stage.downsample is not None:
                stage.downsample = cast("Any", Merging(stage.downsample))
        for name, norm in library.hidden_states_norms.items():
            library.hidden_states_norms[name] = CastNorm(cast("Any", norm))
        for name, part in library.named_children():
            self.add_module(name, part)
        self._library = (library,)  # in a tuple: not registered, its parts have their names already

    def forward(self, pixel_values: Float[Tensor, "B 3 H W"]) -> BackboneOutput:
        """Return a feature map of every stage, finest first.

        Args:
            pixel_values: normalised images.
        """
        (library,) = self._library
        if not uses_kernels(pixel_values):
            return library(pixel_values)
        swin: Any = library.swin
        cells, size = swin.embeddings(pixel_values)
        maps: list[Tensor] = []
        for name, stage in zip(library.stage_names[1:], swin.encoder.layers, strict=True):
            for block in stage.blocks:
                cells, _ = block(cells, size, always_partition=True)
            if name in library.out_features:
                maps.append(library.hidden_states_norms[name](cells).mT.unflatten(2, size))
            if stage.downsample is not None:
                cells = stage.downsample(cells, size)
                size = -(-size[0] // 2), -(-size[1] // 2)
        return BackboneOutput(feature_maps=cast("Any", tuple(maps)))


class Block(nn.Module):
    """One block: attention within windows, then a perceptron, each added to the cells.

    It adopts the library's layers under their names, and changes them there too: what runs on a
    CPU is the library's block with them.

    Args:
        library: where the layers come from.
        remakes: whether what is large and cheap is made again in the backward pass.
    """

    def __init__(self, library: SwinLayer, *, remakes: bool) -> None:
        super().__init__()
        library.layernorm_before = CastNorm(cast("Any", library.layernorm_before))
        library.layernorm_after = CastNorm(cast("Any", library.layernorm_after))
        library.attention = cast("Any", WindowAttention(library.attention, remakes=remakes))
        library.mlp = cast("Any", FeedForward(library.mlp, remakes=remakes))
        for name, part in library.named_children():
            self.add_module(name, part)
        self._library = (library,)  # in a tuple: not registered, its parts have their names already

    def forward(
        self, hidden_states: Float[Tensor, "B S C"], input_dimensions: Size, **more: Any
    ) -> tuple[Float[Tensor, "B S C"], None]:
        """Return the cells after the block; attention's weights are not returned.

        Args:
            hidden_states: cells of the maps, row by row.
            input_dimensions: (height, width) of a map in cells.
            more: flags that the library passes on.
        """
        (library,) = self._library
        if not uses_kernels(hidden_states):
            return library(hidden_states, input_dimensions, **more)
        images = len(hidden_states)
        layout = window_layout(
            images,
            (input_dimensions[0], input_dimensions[1]),
            side=library.window_size,
            shift=library.shift_size,
            device=hidden_states.device,
        )
        windows = cut(library.layernorm_before(hidden_states), layout)
        attended = library.attention(windows, layout.mask, whole=layout.whole)[0]
        cells = _added(hidden_states, joined(attended, layout, images), library.drop_path)
        return cells + library.mlp(library.layernorm_after(cells)), None


class Merging(nn.Module):
    """Four neighbours become one cell of twice the channels.

    Args:
        library: where the layers come from.
    """

    def __init__(self, library: SwinPatchMerging) -> None:
        super().__init__()
        library.norm = CastNorm(library.norm)
        for name, part in library.named_children():
            self.add_module(name, part)
        self._library = (library,)

    def forward(
        self, input_feature: Float[Tensor, "B S C"], input_dimensions: Size
    ) -> Float[Tensor, "B s D"]:
        """Return the cells of maps of half the size, rounded up.

        Args:
            input_feature: cells of the maps, row by row.
            input_dimensions: (height, width) of a map in cells.
        """
        (library,) = self._library
        if not uses_kernels(input_feature):
            return library(input_feature, input_dimensions)
        height, width = input_dimensions
        maps = input_feature.unflatten(1, (height, width))
        maps = F.pad(maps, (0, 0, 0, width % 2, 0, height % 2)) if height % 2 or width % 2 else maps
        fours = maps.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # B, h, row, w, column, C
        cells = fours.permute(0, 1, 3, 4, 2, 5).flatten(3).flatten(1, 2)
        return library.reduction(library.norm(cells))


def _added(
    cells: Float[Tensor, "B S C"], branch: Float[Tensor, "B S C"], drop_path: nn.Module
) -> Float[Tensor, "B S C"]:
    """Return cells + branch, which training drops for some images; draws as the library does."""
    share = cast("float", getattr(drop_path, "drop_prob", 0.0))
    if not (share and drop_path.training):
        return cells + branch
    drawn = torch.rand((len(branch), 1, 1), dtype=branch.dtype, device=branch.device)
    return _Scaled.apply(cells, branch, (drawn + (1 - share)).floor_().float() / (1 - share))


class _Scaled(torch.autograd.Function):
    """cells + branch * scale in one operation; nothing but the scale is kept."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, branch: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        ctx.kind = branch.dtype
        kind = torch.promote_types(cells.dtype, branch.dtype)
        return torch.addcmul(cells, branch, scale, out=torch.empty_like(cells, dtype=kind))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (scale,) = ctx.saved_tensors
        (gradient,) = gradients
        scaled = torch.mul(gradient, scale, out=torch.empty_like(gradient, dtype=ctx.kind))
        return gradient, scaled, None
