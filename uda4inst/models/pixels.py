"""What a backbone is shown: pixels normalised as in its pre-training, padded to whole cells."""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE: Final = 32  # the coarsest stage of Swin, MiT and ResNet; images are padded to multiples
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)  # what their published weights were trained with
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class Pixels(nn.Module):
    """Normalises and pads images; it holds constants that no checkpoint has.

    Args:
        multiple: sides are padded to multiples of it ...
        more: ... and so many pixels.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(self, *, multiple: int = STRIDE, more: int = 0) -> None:
        super().__init__()
        self._multiple, self._more = multiple, more
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("_mean", mean, persistent=False)
        self.register_buffer("_std", std, persistent=False)

    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> Tensor:
        """Return RGB images in [0, 1] normalised, and padded with 0 at the right and the bottom."""
        bottom, right = ((self._more - side) % self._multiple for side in images.shape[-2:])
        return F.pad((images - self._mean) / self._std, (0, right, 0, bottom))


def cut_padding(
    features: Float32[Tensor, "B C h w"], images: Tensor, *, cell: int = STRIDE
) -> Float32[Tensor, "B C h w"]:
    """Return a feature map of padded images without the cells that begin in the padding.

    Args:
        features: of all the images, with padding.
        images: before padding.
        cell: pixels from a cell to the next.
    """
    height, width = (math.ceil(side / cell) for side in images.shape[-2:])
    return features[..., :height, :width]
