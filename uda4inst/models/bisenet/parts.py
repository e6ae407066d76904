"""What BiSeNet is made of beside its ResNet.

Reference: Yu et al., BiSeNet, ECCV 2018, sec. 3, in the form that the comparison method trains.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uda4inst.errors import UserError


def convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution without bias, its batch norm and a ReLU."""
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class SpatialPath(nn.Sequential):
    """Three convolutions of stride 2: an eighth of the size.

    Args:
        widths: channels after each.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        inputs = (3, *widths[:-1])
        pairs = zip(inputs, widths, strict=True)
        super().__init__(*(convolution(one, other, stride=2) for one, other in pairs))


class AttentionRefinement(nn.Module):
    """Every channel times a factor from the map's means.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factors = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )

    def forward(self, maps: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Return the map with its channels weighted.

        Raises:
            UserError: a single image in training mode, over which nothing can be normalised.
        """
        if self.training and len(maps) == 1:
            raise UserError(
                "training.batch_size must be at least 2 with BiSeNet, which normalises means of "
                "whole images over the batch, got a batch of 1. Set training.batch_size=2."
            )
        return maps * self.factors(maps)


class FeatureFusion(nn.Module):
    """Both paths' maps brought to one, whose channels are weighted and added to themselves.

    Args:
        inputs: channels of all maps together.
        outputs: channels of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fuse = convolution(inputs, outputs)
        self.factors = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(outputs, outputs, 1),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1),
            nn.Sigmoid(),
        )

    def forward(self, maps: Sequence[Float[Tensor, "B _ h w"]]) -> Float[Tensor, "B D h w"]:
        """Return the fused map."""
        fused = self.fuse(torch.cat(list(maps), dim=1))
        return fused + fused * self.factors(fused)


def resized(maps: Float[Tensor, "B C _ _"], like: Tensor) -> Float[Tensor, "B C h w"]:
    """Return maps resized bilinearly to the size of another."""
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
