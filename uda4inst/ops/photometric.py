"""Colour distortion of pictures, after SSD: drawn once, applied through tables.

Ranges are those Mask2Former trains with: brightness +-32 of 255, contrast and saturation 0.5 to
1.5, hue +-36 degrees, each on half of the images; contrast before or after the other two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

_BRIGHTNESS: Final = 32.0
_CONTRAST: Final = (0.5, 1.5)
_SATURATION: Final = (0.5, 1.5)
_HUE: Final = 18  # OpenCV counts hue in steps of two degrees, 0..179
_HUES: Final = 180
_SHARE: Final = 0.5  # of images each distortion is applied to


@dataclass(frozen=True, slots=True)
class Distortion:
    """One drawn colour distortion; the defaults change nothing.

    Args:
        brightness: added to every channel, of 255.
        contrast: factor on every channel.
        saturation: factor on the saturation.
        hue: turn of the hue in steps of two degrees.
        contrast_last: apply contrast after saturation and hue.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: int = 0
    contrast_last: bool = False

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Distortion:
        """Draw a distortion; always takes nine numbers from the generator."""
        applied = generator.random(4) < _SHARE
        amounts = generator.random(4)
        return cls(
            brightness=_between(-_BRIGHTNESS, _BRIGHTNESS, amounts[0]) if applied[0] else 0.0,
            contrast=_between(*_CONTRAST, amounts[1]) if applied[1] else 1.0,
            saturation=_between(*_SATURATION, amounts[2]) if applied[2] else 1.0,
            hue=int(amounts[3] * (2 * _HUE + 1)) - _HUE if applied[3] else 0,
            contrast_last=bool(generator.random() < 0.5),
        )

    def apply(self, image: UInt8[NDArray[np.uint8], "H W 3"]) -> UInt8[NDArray[np.uint8], "H W 3"]:
        """Return the distorted picture; the input is untouched."""
        levels = np.arange(256, dtype=np.float64)
        first = _clip(levels + self.brightness)
        if not self.contrast_last:
            first = _clip(first * self.contrast)
        image = _look_up(image, first)
        if self.saturation != 1.0 or self.hue != 0:
            hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), dtype=np.uint8)
            turned = np.where(levels < _HUES, (levels + self.hue) % _HUES, levels)
            tables = np.stack([turned, _clip(levels * self.saturation), levels], axis=-1)
            hsv = _look_up(hsv, tables)
            image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
        return _look_up(image, _clip(levels * self.contrast)) if self.contrast_last else image


def _between(low: float, high: float, share: float) -> float:
    """Return the point that divides an interval in the given share."""
    return float(low + (high - low) * share)


def _clip(levels: Float64[NDArray[np.float64], " 256"]) -> Float64[NDArray[np.float64], " 256"]:
    """Return whole levels in 0..255."""
    return np.clip(np.rint(levels), 0.0, 255.0)


def _look_up(
    image: UInt8[NDArray[np.uint8], "H W 3"],
    levels: Float64[NDArray[np.float64], " 256"] | Float64[NDArray[np.float64], "256 3"],
) -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Return the picture with every level replaced from a table (one, or one per channel)."""
    table = levels.astype(np.uint8).reshape(1, 256, -1)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)
