"""Colour jitter and Gaussian blur of images on any device: the strong view of class mixing.

Both are drawn first, as plain numbers, and applied after: nothing is read back from the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional as F

Image = Float32[Tensor, "3 H W"]

# Luma of ITU-R BT.601, as in the usual gray conversion.
_LUMA: Final = (0.299, 0.587, 0.114)
_SIGMA: Final = (0.15, 1.15)  # of the blur, pixels: DACS, utils/transformsgpu.py
_KERNEL_SHARE: Final = 0.1  # a kernel's side as a share of the image's


@dataclass(frozen=True, slots=True)
class Jitter:
    """A drawn change of colours; the defaults change nothing. Applied in the order of the fields.

    Args:
        brightness: factor on every channel.
        contrast: factor on the distance from the image's mean gray.
        saturation: factor on the distance from each pixel's gray.
        hue: turn of the hue, -0.5 .. 0.5 of the circle.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0

    @classmethod
    def draw(cls, strength: float, generator: torch.Generator) -> Jitter:
        """Draw factors from 1 - strength .. 1 + strength, and a hue from -strength .. strength.

        Args:
            strength: 0 .. 0.5.
            generator: on the CPU; four numbers are taken.
        """
        amounts = (2 * torch.rand(4, generator=generator) - 1).mul_(strength)
        brightness, contrast, saturation, hue = (float(amount) for amount in amounts)
        return cls(1 + brightness, 1 + contrast, 1 + saturation, hue)

    def apply(self, image: Image) -> Image:
        """Return the changed image, clipped to [0, 1]; the input is untouched."""
        image = (image * self.brightness).clamp_(0, 1)
        mean = gray(image).mean()
        image = (mean + (image - mean) * self.contrast).clamp_(0, 1)
        level = gray(image)
        image = (level + (image - level) * self.saturation).clamp_(0, 1)
        return turn_hue(image, self.hue) if self.hue else image


def gray(image: Image) -> Float32[Tensor, "1 H W"]:
    """Return the luma of every pixel."""
    return image[0:1] * _LUMA[0] + image[1:2] * _LUMA[1] + image[2:3] * _LUMA[2]


def turn_hue(image: Image, turn: float) -> Image:
    """Return the image with every hue turned; saturation and value of HSV stay.

    Args:
        image: RGB in [0, 1].
        turn: share of the circle; 1/3 makes red green.
    """
    value, spread = image.amax(0), image.amax(0) - image.amin(0)
    red, green, blue = image
    safe = torch.where(spread > 0, spread, torch.ones_like(spread))
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    # The channel n of a hue h is v - s * clamp(min(k, 4 - k), 0, 1), k = (n + h) mod 6.
    turned = sixth + 6 * turn
    channels = [
        value - spread * torch.minimum(k, 4 - k).clamp(0, 1)
        for k in ((offset + turned) % 6 for offset in (5, 3, 1))
    ]
    return torch.stack(channels)


def draw_sigma(generator: torch.Generator) -> float:
    """Draw a blur's standard deviation, pixels."""
    low, high = _SIGMA
    return low + (high - low) * float(torch.rand((), generator=generator))


def gaussian_blur(image: Image, sigma: float) -> Image:
    """Return the image blurred; borders are mirrored about the outermost pixels.

    The kernel takes in about a tenth of each side, an odd number of pixels (51 of 512, as in DACS).
    Not a convolution of torch's, so that neither autocast nor reduced-precision products change it.

    Args:
        image: RGB in [0, 1].
        sigma: standard deviation in pixels, above 0.
    """
    height, width = image.shape[1:]
    tall, wide = (_kernel(side, sigma) for side in (height, width))
    reach = (len(wide) // 2, len(wide) // 2, len(tall) // 2, len(tall) // 2)
    padded = F.pad(image[None], reach, mode="reflect")[0]
    rows = sum(w * padded[:, shift : shift + height] for shift, w in enumerate(tall))
    assert isinstance(rows, Tensor)
    blurred = sum(w * rows[..., shift : shift + width] for shift, w in enumerate(wide))
    assert isinstance(blurred, Tensor)
    return blurred


def kernel_reach(side: int) -> int:
    """Return how many pixels to either side a kernel takes in an image of such a side.

    Example:
        >>> kernel_reach(512), kernel_reach(128), kernel_reach(8)
        (25, 6, 0)
    """
    return (math.ceil(_KERNEL_SHARE * side) - 1) // 2


def _kernel(side: int, sigma: float) -> list[float]:
    """Return the weights of a kernel, without the ends that would add less than 1e-7 each."""
    reach = kernel_reach(side)
    weights = [math.exp(-((x / sigma) ** 2) / 2) for x in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    right = [w / total for w in weights if w / total >= 1e-7]
    return [*right[:0:-1], *right]


@dataclass(frozen=True, slots=True)
class StrongView:
    """What is done to an image's colours and sharpness; nothing at the defaults.

    Args:
        jitter: of the colours.
        sigma: of the blur, pixels.
        is_gray: whether the colours are taken off, after the jitter.
    """

    jitter: Jitter | None = None
    sigma: float | None = None
    is_gray: bool = False

    @classmethod
    def draw(
        cls,
        *,
        strength: float,
        jitter_chance: float,
        blur_chance: float,
        generator: torch.Generator,
        gray_chance: float = 0.0,
    ) -> StrongView:
        """Draw one; always takes eight numbers from the generator."""
        chances = torch.rand(3, generator=generator)
        jitter, sigma = Jitter.draw(strength, generator), draw_sigma(generator)
        return cls(
            jitter if float(chances[0]) < jitter_chance else None,
            sigma if float(chances[1]) < blur_chance else None,
            float(chances[2]) < gray_chance,
        )

    def apply(self, image: Image) -> Image:
        """Return the changed image; the input is untouched."""
        if self.jitter is not None:
            image = self.jitter.apply(image)
        if self.is_gray:
            image = gray(image).expand_as(image)
        return image if self.sigma is None else gaussian_blur(image, self.sigma)
