"""BiSeNet as the comparison method has it: images in, class logits at an eighth of the size out.

    stage 3, stage 4 of a ResNet, each refined; stage 4 times its own means
    logits = conv_1x1(fusion(spatial path, both at its size));  two auxiliary 1x1 heads on the two

Reference: Yu et al., BiSeNet, ECCV 2018, and the network of the report "Meta Pseudo Labels for
real-time segmentation".
Departures. Published code: 1x1 convolutions after bilinear resizing, the last one at full size.
Ours: before it, which gives the same values from up to 64 times less. Its ResNet is torchvision's
with BGR less Caffe's means; ours are the library's, and normalised as for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from jaxtyping import Float32
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from uda4inst.models.bisenet.parts import (
    AttentionRefinement,
    FeatureFusion,
    SpatialPath,
    resized,
)
from uda4inst.models.network import LoadReport
from uda4inst.models.pixels import Pixels, cut_padding
from uda4inst.models.resnet import recompute_blocks, stages
from uda4inst.models.semantic.checkpoint import load_backbone
from uda4inst.models.semantic.network import SemanticNetwork, SemanticPreset
from uda4inst.models.semantic.prediction import Auxiliary, SemanticPrediction

CELL: Final = 8  # pixels a side of one cell of logits
_BOTH: Final = ("weight", "bias")


class BiSeNet(SemanticNetwork):
    """Both paths, their fusion, and two auxiliary heads.

    Args:
        preset: which architecture.
        config: the library's of the ResNet.
        spatial_widths: channels of the spatial path's three convolutions.
        aux_weight: of each auxiliary head's cross-entropy.
        num_classes: what a pixel can be.
        gradient_checkpointing: recompute the ResNet's blocks in the backward pass.
    """

    backbone_prefix = "context."
    # from the fusion on, channels are classes
    class_head = (
        "fusion.fuse.0.weight",
        *(f"fusion.fuse.1.{name}" for name in (*_BOTH, "running_mean", "running_var")),
        *(f"fusion.factors.{layer}.{name}" for layer in (1, 3) for name in _BOTH),
        *(f"{head}.{n}" for head in ("classifier", "aux_third", "aux_fourth") for n in _BOTH),
    )

    def __init__(
        self,
        preset: SemanticPreset,
        config: ResNetConfig,
        *,
        spatial_widths: Sequence[int],
        aux_weight: float,
        num_classes: int,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.num_classes = num_classes
        self.spatial = SpatialPath(spatial_widths)
        self.context = ResNetModel(config)
        if gradient_checkpointing:
            recompute_blocks(self.context)
        third, fourth = cast("list[int]", config.hidden_sizes)[-2:]
        self.refine_third, self.refine_fourth = (AttentionRefinement(n) for n in (third, fourth))
        self.fusion = FeatureFusion(spatial_widths[-1] + third + fourth, num_classes)
        self.classifier = nn.Conv2d(num_classes, num_classes, 1)
        self.aux_third, self.aux_fourth = (nn.Conv2d(n, num_classes, 1) for n in (third, fourth))
        self.aux_weight = aux_weight
        self.pixels = Pixels()
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d) and not name.startswith(self.backbone_prefix):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> SemanticPrediction:
        """Predict the class of every cell of 8x8 pixels. See `SemanticNetwork.forward`."""
        height, width = images.shape[-2:]
        pixels = self.pixels(images)
        detail = self.spatial(pixels)
        *_, third, features = stages(self.context, pixels)
        third = self.refine_third(third)
        fourth = self.refine_fourth(features) * features.mean(dim=(2, 3), keepdim=True)
        aux: tuple[Auxiliary, ...] = ()
        if self.training:
            heads = ((self.aux_third, third), (self.aux_fourth, fourth))
            aux = tuple(
                Auxiliary(
                    SemanticPrediction(resized(head(maps), detail), (height, width), cell=CELL),
                    self.aux_weight,
                )
                for head, maps in heads
            )
        fused = self.fusion([detail, resized(third, detail), resized(fourth, detail)])
        return SemanticPrediction(
            self.classifier(fused), (height, width), cell=CELL, features=features, aux=aux
        )

    def features(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B C h w"]:
        """Return the feature map of the ResNet's last stage."""
        return cut_padding(stages(self.context, self.pixels(images))[-1], images)

    def load_checkpoint(self, name: str, *, source: str) -> LoadReport:
        """Fill the ResNet from a ResNet, or from whatever was built on one."""
        return load_backbone(self, name, source=source)
