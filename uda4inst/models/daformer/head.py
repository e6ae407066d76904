"""DAFormer's head: four levels brought to one width, fused with dilated context, classified.

Reference: Hoyer et al., DAFormer, CVPR 2022, sec. 3.2. Its atrous spatial pyramid has no branch for
the whole image; three of its four branches are depthwise-separable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def convolution(
    inputs: int, outputs: int, side: int, *, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return a convolution without bias that keeps the size, its batch norm and a ReLU."""
    padding = side // 2 * dilation
    layer = nn.Conv2d(
        inputs, outputs, side, padding=padding, dilation=dilation, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class SeparableContext(nn.Module):
    """Branches of several dilations over the same map, side by side, then one 3x3 convolution.

    Dilation 1 is a 1x1 convolution; any other is a depthwise 3x3 and a 1x1, each with norm and
    ReLU.

    Args:
        inputs: channels.
        outputs: channels of every branch, and of the result.
        dilations: of the branches.
    """

    def __init__(self, inputs: int, outputs: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            convolution(inputs, outputs, 1)
            if dilation == 1
            else nn.Sequential(
                convolution(inputs, inputs, 3, dilation=dilation, groups=inputs),
                convolution(inputs, outputs, 1),
            )
            for dilation in dilations
        )
        self.bottleneck = convolution(len(dilations) * outputs, outputs, 3)

    def forward(self, maps: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """Return the map in its context."""
        return self.bottleneck(torch.cat([branch(maps) for branch in self.branches], dim=1))


class FusionHead(nn.Module):
    """Class logits at the finest level.

    Args:
        widths: channels of the levels, finest first.
        width: channels each is brought to, by a linear layer without norm or activation.
        num_classes: what a pixel can be.
        dilations: of the context.
        dropout: rate at which whole channels are dropped before the last layer.
    """

    def __init__(
        self,
        widths: Sequence[int],
        width: int,
        num_classes: int,
        *,
        dilations: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Linear(inputs, width) for inputs in widths)
        self.context = SeparableContext(len(widths) * width, width, dilations)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(cast("Tensor", self.classifier.bias))

    def forward(self, levels: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B K h w"]:
        """Return logits of the size of the first level."""
        size = levels[0].shape[-2:]
        embedded: list[Tensor] = []
        for level, embedding in zip(levels, self.embeddings, strict=True):
            maps = embedding(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            embedded.append(F.interpolate(maps, size=size, mode="bilinear", align_corners=False))
        return self.classifier(self.dropout(self.context(torch.cat(embedded, dim=1))))
