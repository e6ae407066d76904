"""What the camera adds to a painted picture: texture, light, lens, sensor, compression."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.data.toystreets import styles
from uda4inst.data.toystreets.street import ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION
from uda4inst.data.toystreets.styles import Style

PixelRng = np.random.Generator
Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

FIRST_THING: Final = 32  # labels below are stuff (trainIds), from here on instances


def noise_field(rng: PixelRng, size: tuple[int, int], period: float) -> Plane:
    """Return smooth noise of unit variance whose features are `period` pixels wide."""
    height, width = size
    small = (max(2, round(height / period) + 1), max(2, round(width / period) + 1))
    coarse = rng.standard_normal(small, dtype=np.float32)
    if small[0] >= height or small[1] >= width:
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_AREA)
    # linear interpolation lowers the variance to about (2/3)^2
    return 1.5 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def add_texture(
    image: Image, labels: NDArray[np.uint8], style: Style, rng: PixelRng, unit: float
) -> Image:
    """Add smooth noise of a strength that depends on what each pixel shows."""
    size = labels.shape[0], labels.shape[1]
    amount = np.zeros(256, dtype=np.float32)
    if styles.BACKGROUND_TEXTURE in style.parts:
        amount[:FIRST_THING] = styles.BACKGROUND_TEXTURE_STRENGTH
        amount[255] = styles.BACKGROUND_TEXTURE_STRENGTH
        amount[SKY] = 0.25 * styles.BACKGROUND_TEXTURE_STRENGTH
        amount[[ROAD, SIDEWALK]] = 0.6 * styles.BACKGROUND_TEXTURE_STRENGTH
        amount[[VEGETATION, TERRAIN]] = (
            styles.FOLIAGE_TEXTURE_FACTOR * styles.BACKGROUND_TEXTURE_STRENGTH
        )
    if styles.OBJECT_TEXTURE in style.parts:
        amount[FIRST_THING:255] = styles.OBJECT_TEXTURE_STRENGTH
    texture = noise_field(rng, size, 2.0 * unit)
    texture += noise_field(rng, size, 5.0 * unit)
    texture += noise_field(rng, size, 14.0 * unit)
    texture *= 0.58 * cv2.LUT(labels, amount)
    return _clipped(image + texture[..., None])


def shade_objects(
    image: Image, labels: NDArray[np.uint8], spans: dict[int, tuple[float, float]]
) -> Image:
    """Make every object lighter at its top and darker at its foot.

    Args:
        image: painted picture.
        labels: label plane.
        spans: first and last row of each object's label.
    """
    slope = np.zeros(256, dtype=np.float32)
    offset = np.ones(256, dtype=np.float32)
    for label, (top, foot) in spans.items():
        height = max(foot - top, 1.0)
        slope[label] = -2.0 * styles.OBJECT_SHADING / height
        offset[label] = 1.0 + styles.OBJECT_SHADING * (1.0 + 2.0 * top / height)
    rows = np.arange(len(labels), dtype=np.float32)[:, None]
    gain = cv2.LUT(labels, offset) + cv2.LUT(labels, slope) * rows
    return _clipped(image * gain[..., None])


def light_gradient(size: tuple[int, int], style: Style, rng: PixelRng) -> Plane | None:
    """Return the gain of lighting and lens over the picture, or None when both are off."""
    height, width = size
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    gain = np.ones(size, dtype=np.float32)
    if styles.LIGHTING in style.parts:
        angle = rng.uniform(0, 2 * np.pi)
        slope = styles.LIGHT_GRADIENT * rng.uniform(0.3, 1.0)
        gain += np.float32(slope * np.cos(angle)) * x + np.float32(0.5 * slope * np.sin(angle)) * y
    if styles.VIGNETTING in style.parts:
        gain *= 1.0 - np.float32(0.5 * styles.VIGNETTE_STRENGTH) * (x * x + y * y)
    if styles.LIGHTING not in style.parts and styles.VIGNETTING not in style.parts:
        return None
    return gain


def develop(image: Image, style: Style, rng: PixelRng, unit: float) -> Image:
    """Pass a picture through light, lens, sensor and JPEG, each only if its part is on."""
    size = image.shape[0], image.shape[1]
    gain = light_gradient(size, style, rng)
    if gain is not None:
        image = _clipped(image * gain[..., None])
    if styles.BLUR in style.parts:
        image = blurred(image, rng.uniform(*styles.BLUR_SIGMA) * unit)
    if styles.NOISE in style.parts:
        image = noisy(image, rng.uniform(*styles.NOISE_SIGMA), rng)
    if styles.JPEG in style.parts:
        quality = int(rng.integers(styles.JPEG_QUALITY[0], styles.JPEG_QUALITY[1] + 1))
        _, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])
    return image


def develop_neutral(image: Image, rng: PixelRng, unit: float) -> Image:
    """Give a neutral picture random colour statistics, and sometimes blur and noise."""
    gain = rng.uniform(0.7, 1.25) * rng.uniform(0.85, 1.15, 3)
    bias = rng.uniform(-20, 20) + rng.uniform(-12, 12, 3)
    table = np.arange(256)[:, None] * gain + bias
    image = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.5:
        image = blurred(image, rng.uniform(0.3, 0.8) * unit)
    if rng.random() < 0.5:
        image = noisy(image, rng.uniform(1.0, 7.0), rng)
    return image


def blurred(image: Image, sigma: float) -> Image:
    """Return the picture behind a Gaussian lens."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def noisy(image: Image, sigma: float, rng: PixelRng) -> Image:
    """Return the picture with sensor noise of a standard deviation in grey levels."""
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    grain *= np.float32(sigma)
    grain += image
    return _clipped(grain)


def _clipped(values: NDArray[np.float32]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
