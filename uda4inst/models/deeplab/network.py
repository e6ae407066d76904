"""DeepLabV2 as the comparison methods have it: ResNet by `transformers`, two heads of our own.

    logits = sum over rates r of conv_3x3(stage 4, dilation r)        the same on stage 3, auxiliary

Reference: Chen et al., DeepLab, TPAMI 2018, and the networks of EHTDI and DACS.
Departures. Published code: images of any size, whose corner pixels are given to the corner cells
(512 pixels are 64 steps of 7.98). Ours: images are padded to 8k + 1 pixels, at which cell k is
pixel 8k to the point; 512 pixels are 65 cells as there. Published code subtracts Caffe's means from
BGR; ours are normalised as for the library's ResNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from uda4inst.models.network import LoadReport
from uda4inst.models.pixels import Pixels, cut_padding
from uda4inst.models.resnet import (
    DILATED_STRIDE,
    dilate,
    freeze_stem_norm,
    recompute_blocks,
    stages,
)
from uda4inst.models.semantic.checkpoint import load_backbone
from uda4inst.models.semantic.network import SemanticNetwork, SemanticPreset
from uda4inst.models.semantic.prediction import Auxiliary, SemanticPrediction


class DilatedSum(nn.Module):
    """The sum of dilated 3x3 convolutions over one map.

    Args:
        inputs: channels.
        outputs: channels of the result.
        rates: dilations.
    """

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate) for rate in rates
        )
        for branch in self.branches:
            nn.init.normal_(branch.get_parameter("weight"), std=0.01)

    def forward(self, maps: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """Return the sum, of the map's size."""
        return torch.stack([branch(maps) for branch in self.branches]).sum(dim=0)


class DeepLab(SemanticNetwork):
    """Backbone and heads.

    Args:
        preset: which architecture.
        config: the library's of the ResNet.
        rates: dilations of both heads.
        aux_weight: of the auxiliary head's cross-entropy.
        frozen_stem_norm: train neither scale nor shift of the first batch norm.
        num_classes: what a pixel can be.
        gradient_checkpointing: recompute the backbone's blocks in the backward pass.
    """

    backbone_prefix = "backbone."

    def __init__(
        self,
        preset: SemanticPreset,
        config: ResNetConfig,
        *,
        rates: Sequence[int],
        aux_weight: float,
        frozen_stem_norm: bool,
        num_classes: int,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.num_classes = num_classes
        self.backbone = ResNetModel(config)
        dilate(self.backbone)
        if frozen_stem_norm:
            freeze_stem_norm(self.backbone)
        if gradient_checkpointing:
            recompute_blocks(self.backbone)
        third, fourth = cast("list[int]", config.hidden_sizes)[-2:]
        self.head = DilatedSum(fourth, num_classes, rates)
        self.aux_head = DilatedSum(third, num_classes, rates)
        self.aux_weight = aux_weight
        self.class_head = tuple(
            f"{head}.{name}"
            for head in ("head", "aux_head")
            for name, _ in self.get_submodule(head).named_parameters()
        )
        self.pixels = Pixels(multiple=DILATED_STRIDE, more=1)

    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> SemanticPrediction:
        """Predict the class of every 8th pixel of every 8th row. See `SemanticNetwork.forward`."""
        *_, third, fourth = stages(self.backbone, self.pixels(images))
        aux = ()
        if self.training:
            aux = (Auxiliary(self._prediction(self.aux_head(third), images), self.aux_weight),)
        return self._prediction(self.head(fourth), images, features=fourth, aux=aux)

    def _prediction(
        self,
        logits: Tensor,
        images: Tensor,
        *,
        features: Tensor | None = None,
        aux: tuple[Auxiliary, ...] = (),
    ) -> SemanticPrediction:
        height, width = images.shape[-2:]
        return SemanticPrediction(
            logits,
            (height, width),
            cell=DILATED_STRIDE,
            align_corners=True,
            features=features,
            aux=aux,
        )

    def features(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B C h w"]:
        """Return the feature map of the last stage."""
        maps = stages(self.backbone, self.pixels(images))[-1]
        return cut_padding(maps, images, cell=DILATED_STRIDE)

    def load_checkpoint(self, name: str, *, source: str) -> LoadReport:
        """Fill the backbone from a ResNet, or from whatever was built on one."""
        return load_backbone(self, name, source=source)
