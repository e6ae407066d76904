"""Discriminators: what says of a map of classes from which domain its image came.

Five convolutions of kernel 4 and stride 2 on softmax probabilities at full size, leaky ReLU between
them, the last one's logit resized to the input.

Reference: Tsai et al., Learning to adapt structured output space, CVPR 2018, for the plain one; the
report "Meta Pseudo Labels for real-time segmentation" for the depthwise-separable one.
Departure. Published code resizes by 32; ours resizes to the input's size, which is the same where
its sides are multiples of 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.errors import UserError, did_you_mean

LEAST_SIDE: Final = 32  # pixels: what five halvings need
_WIDTHS: Final = (64, 128, 256, 512, 1)
_SLOPE: Final = 0.2  # of the leaky ReLU below 0


@dataclass(frozen=True, slots=True)
class DiscriminatorPreset:
    """One kind of discriminator.

    Args:
        name: what the configuration calls it.
        is_separable: whether a layer is a depthwise and a 1x1 convolution, both without bias.
    """

    name: str
    is_separable: bool


class Discriminator(nn.Module):
    """Probabilities of classes in, one logit a pixel out.

    Args:
        preset: which kind.
        num_classes: channels of the input.
    """

    def __init__(self, preset: DiscriminatorPreset, *, num_classes: int) -> None:
        super().__init__()
        self.preset = preset
        layers: list[nn.Module] = []
        inputs = num_classes
        for outputs in _WIDTHS:
            if preset.is_separable:
                layers += [
                    nn.Conv2d(inputs, inputs, 4, stride=2, padding=1, groups=inputs, bias=False),
                    nn.Conv2d(inputs, outputs, 1, bias=False),
                ]
            else:
                layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))
            layers.append(nn.LeakyReLU(_SLOPE))
            inputs = outputs
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, probabilities: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the logit of every pixel.

        Args:
            probabilities: softmax over the classes.

        Raises:
            UserError: a side is shorter than `LEAST_SIDE`.
        """
        height, width = size = probabilities.shape[-2:]
        if min(size) < LEAST_SIDE:
            raise UserError(
                f"data.crop must have at least {LEAST_SIDE} pixels a side with a discriminator, "
                f"which halves it five times, got {height}x{width}. Choose a larger crop."
            )
        logits = self.layers(probabilities)
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


DISCRIMINATORS: Final[Mapping[str, DiscriminatorPreset]] = {
    preset.name: preset
    for preset in (
        DiscriminatorPreset("fcd", is_separable=False),
        DiscriminatorPreset("dsc", is_separable=True),
    )
}


def build_discriminator(name: str, *, num_classes: int = len(SEMANTIC_CLASSES)) -> Discriminator:
    """Return a fresh discriminator, from torch's generator.

    Args:
        name: "fcd", fully convolutional, 2.8 M parameters; or "dsc", depthwise-separable, 0.19 M.
        num_classes: channels of what it judges.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DISCRIMINATORS:
        hint = did_you_mean(name, DISCRIMINATORS)
        raise UserError(
            f"the discriminator must be one of {', '.join(DISCRIMINATORS)}, got {name!r}.{hint}"
        )
    return Discriminator(DISCRIMINATORS[name], num_classes=num_classes)
