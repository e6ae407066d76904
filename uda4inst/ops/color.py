"""RGB and CIELAB on tensors of any device, and the alignment of one image's colours to another's.

Conventions are scikit-image's: sRGB, white point D65 of the 2 degree observer, L in [0, 100].
On the CPU images are worked through in blocks that stay in the cache. Powers are taken through exp
and log (a third of the time of `pow`), and each two-piece curve as the curve of max(x, knee) plus
the line of min(x, knee), which are cheaper than a choice per pixel; equal to six digits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

Image = Float32[Tensor, "*batch 3 H W"]

_WHITE: Final = np.array([0.95047, 1.0, 1.08883])  # D65, 2 degrees
# Linear sRGB -> XYZ relative to white; IEC 61966-2-1 as rounded by scikit-image.
_XYZ_FROM_RGB: Final = (
    np.array(
        [
            [0.412453, 0.357580, 0.180423],
            [0.212671, 0.715160, 0.072169],
            [0.019334, 0.119193, 0.950227],
        ]
    )
    / _WHITE[:, None]
)
_RGB_FROM_XYZ: Final = np.linalg.inv(_XYZ_FROM_RGB)
# Where each curve's power ends and its line begins, in scikit-image's digits.
_SRGB_KNEE: Final = 0.04045
_LINEAR_KNEE: Final = 0.0031308
_XYZ_KNEE: Final = 0.008856
_F_KNEE: Final = 0.2068966
_MIN_STD: Final = 1e-4  # LAB units; below it a channel is flat but for rounding
_BLOCK: Final = 1 << 15  # pixels: the fastest of 2^12..2^20 on an EPYC core (512 KiB L2)


def rgb_to_lab(image: Image) -> Image:
    """Return an image in LAB; the input is untouched.

    Args:
        image: RGB in [0, 1].

    Returns:
        L in [0, 100], a and b around 0; within 1e-3 of scikit-image.
    """
    matrix = _matrix("to XYZ", image.device)
    return _blockwise(lambda pixels: _lab(pixels, matrix), image)


def lab_to_rgb(image: Image) -> Image:
    """Return a LAB image in RGB, clipped to [0, 1]; the input is untouched."""
    matrix = _matrix("from XYZ", image.device)
    return _blockwise(lambda pixels: _rgb(pixels, matrix), image)


def align_lab(source_image: Image, target_image: Float32[Tensor, "*batch 3 h w"]) -> Image:
    """Return the source image with the target image's mean and spread of each LAB channel.

    x' = (x - mean_source) / std_source * std_target + mean_target over all pixels of a pair, then
    back to RGB, clipped. A flat channel takes the target's mean alone. Inputs are untouched.

    Args:
        source_image: RGB in [0, 1].
        target_image: RGB in [0, 1], of the same batch shape; its size may differ.

    Reference: UDA4Inst (arXiv:2405.09682), after He et al., CVPR 2021.
    """
    return align_to_statistics(source_image, lab_statistics(target_image))


@dataclass(frozen=True, slots=True, eq=False)
class LabStatistics:
    """Mean and spread of each LAB channel over all pixels of an image.

    Args:
        mean: of L, a and b.
        std: standard deviation of each.
    """

    mean: Float32[Tensor, "*batch 3 1 1"]
    std: Float32[Tensor, "*batch 3 1 1"]


def lab_statistics(image: Image) -> LabStatistics:
    """Return an RGB image's statistics in LAB."""
    return _statistics(rgb_to_lab(image))


def align_to_statistics(
    source_image: Image, target: LabStatistics, *, source: LabStatistics | None = None
) -> Image:
    """Return the source image with these statistics; see `align_lab`.

    Args:
        source_image: RGB in [0, 1].
        target: what it is given.
        source: what it has; None: of its own pixels. Of a part of an image, the whole image's.
    """
    lab = rgb_to_lab(source_image)
    source = source or _statistics(lab)
    scale = torch.where(
        source.std > _MIN_STD,
        target.std / source.std.clamp(min=_MIN_STD),
        torch.zeros_like(source.std),
    )
    aligned = lab.mul_(scale).add_(target.mean - source.mean * scale)
    return lab_to_rgb(aligned)


def _statistics(image: Image) -> LabStatistics:
    """Return the statistics of a LAB image.

    Two passes: `torch.std_mean` takes ten times as long on the CPU.
    """
    mean = image.mean((-2, -1), keepdim=True)
    variance = (image - mean).square_().mean((-2, -1), keepdim=True)
    return LabStatistics(mean=mean, std=variance.sqrt_())


def _blockwise(convert: Callable[[Tensor], Tensor], image: Image) -> Image:
    """Apply a function of pixels (..., 3, P) to an image, in blocks when on the CPU."""
    flat = image.reshape(-1, 3, image.shape[-2] * image.shape[-1])
    if image.device.type != "cpu":
        return convert(flat).reshape(image.shape)
    out = torch.empty_like(flat)
    for pixels, converted in zip(flat, out, strict=True):
        for start in range(0, flat.shape[-1], _BLOCK):
            block = slice(start, start + _BLOCK)
            converted[:, block] = convert(pixels[:, block])
    return out.reshape(image.shape)


def _lab(rgb: Float32[Tensor, "*batch 3 P"], matrix: Float32[Tensor, "3 3"]) -> Tensor:
    """Return LAB of sRGB pixels; `matrix` makes XYZ relative to white."""
    linear = rgb.clamp(min=_SRGB_KNEE).add_(0.055).mul_(1 / 1.055).log_().mul_(2.4).exp_()
    linear.add_(rgb.clamp(max=_SRGB_KNEE).sub_(_SRGB_KNEE), alpha=1 / 12.92)
    xyz = matrix @ linear
    f = xyz.clamp(min=_XYZ_KNEE).log_().mul_(1 / 3).exp_()
    f.add_(xyz.clamp_(max=_XYZ_KNEE).sub_(_XYZ_KNEE), alpha=7.787)
    x, y, z = f.unbind(-2)
    return torch.stack((116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)), dim=-2)


def _rgb(lab: Float32[Tensor, "*batch 3 P"], matrix: Float32[Tensor, "3 3"]) -> Tensor:
    """Return clipped sRGB of LAB pixels; `matrix` takes XYZ relative to white."""
    lightness, a, b = lab.unbind(-2)
    y = (lightness + 16.0) * (1 / 116.0)
    f = torch.stack((y + a * (1 / 500.0), y, (y - b * (1 / 200.0)).clamp_(min=0)), dim=-2)
    xyz = f.clamp(min=_F_KNEE).pow_(3)
    xyz.add_(f.clamp_(max=_F_KNEE).sub_(_F_KNEE), alpha=1 / 7.787)
    linear = matrix @ xyz
    encoded = linear.clamp(min=_LINEAR_KNEE).log_().mul_(1 / 2.4).exp_().mul_(1.055).sub_(0.055)
    encoded.add_(linear.clamp_(max=_LINEAR_KNEE).sub_(_LINEAR_KNEE), alpha=12.92)
    return encoded.clamp_(0.0, 1.0)


@functools.cache
def _matrix(
    direction: Literal["to XYZ", "from XYZ"], device: torch.device
) -> Float32[Tensor, "3 3"]:
    """Return a constant on a device; it is brought there once, as this stops the device."""
    values = _XYZ_FROM_RGB if direction == "to XYZ" else _RGB_FROM_XYZ
    return torch.tensor(values, dtype=torch.float32).to(device)
