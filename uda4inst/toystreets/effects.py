"""What happens to a painted picture afterwards: texture, light, lens, sensor, compression."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.toystreets import styles
from uda4inst.toystreets.canvas import EGO, FIRST_THING
from uda4inst.toystreets.street import ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION, VOID
from uda4inst.toystreets.styles import Style
from uda4inst.toystreets.world import Rng

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]
_UNIT_GAIN: Final = 128.0  # the byte that stands for a gain of one; bytes are fast to multiply
_MIDDLE: Final = 128.0  # the byte that stands for nothing added
PixelRng = np.random.Generator


def pixel_rng(rng: Rng) -> PixelRng:
    """Return a generator of whole arrays of noise."""
    return np.random.Generator(np.random.SFC64(rng.getrandbits(64)))


def photograph(
    image: Image,
    labels: Image,
    spans: dict[int, tuple[float, float]],
    style: Style,
    rng: Rng,
    unit: float,
) -> Image:
    """Return the picture with every part that is on; each part has random numbers of its own.

    Args:
        image: painted picture.
        labels: label plane.
        spans: first and last row of each object's label.
        style: says which parts are on.
        rng: stream of this picture.
        unit: pixels per pixel at 128x256.
    """
    textures, grains = pixel_rng(rng), pixel_rng(rng)
    light = light_gain(labels.shape, style, angle=rng.uniform(0, math.tau), share=rng.random())
    sigma = rng.uniform(*styles.BLUR_SIGMA) * unit
    grain = rng.uniform(*styles.NOISE_SIGMA)
    quality = rng.randint(*styles.JPEG_QUALITY)
    if styles.SHADING in style.parts:
        shade = object_gain(labels, spans)
        light = shade if light is None else light * shade
    if light is not None:
        gain = _three(_to_bytes(_UNIT_GAIN * light))
        image = np.asarray(cv2.multiply(image, gain, scale=1 / _UNIT_GAIN), dtype=np.uint8)
    if {styles.OBJECT_TEXTURE, styles.BACKGROUND_TEXTURE} & style.parts:
        field = _three(_to_bytes(texture(labels, style, textures, unit) + _MIDDLE))
        image = _added(image, field, 1.0)
    if styles.BLUR in style.parts:
        image = blurred(image, sigma)
    if styles.NOISE in style.parts:
        image = sensor_noise(image, grain, grains)
    if styles.JPEG in style.parts:
        image = compressed(image, quality)
    return image


def photograph_neutral(image: Image, rng: Rng, unit: float) -> Image:
    """Give a neutral picture random colour statistics, and sometimes blur and noise."""
    level, offset = rng.uniform(0.7, 1.25), rng.uniform(-20, 20)
    gain = np.array([level * rng.uniform(0.85, 1.15) for _ in range(3)])
    bias = np.array([offset + rng.uniform(-12, 12) for _ in range(3)])
    table = np.clip(np.arange(256)[:, None] * gain + bias, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, table[None]), dtype=np.uint8)
    if rng.random() < 0.5:
        image = blurred(image, rng.uniform(0.3, 0.8) * unit)
    if rng.random() < 0.5:
        grain = pixel_rng(rng).standard_normal(image.shape, dtype=np.float32)
        grain *= np.float32(rng.uniform(1.0, 7.0))
        grain += image
        image = _to_bytes(grain)
    return image


def noise_field(rng: PixelRng, size: tuple[int, int], period: float) -> Plane:
    """Return smooth noise of about unit variance whose features are `period` pixels wide."""
    height, width = size
    small = (max(2, round(height / period) + 1), max(2, round(width / period) + 1))
    coarse = rng.standard_normal(small, dtype=np.float32)
    smooth = np.empty(size, dtype=np.float32)
    cv2.resize(coarse, (width, height), dst=smooth, interpolation=cv2.INTER_LINEAR)
    smooth *= np.float32(1.5)  # linear interpolation lowers the deviation to about 2/3
    return smooth


def texture(labels: Image, style: Style, rng: PixelRng, unit: float) -> Plane:
    """Return smooth noise in grey levels whose strength depends on what each pixel shows."""
    amount = np.zeros(256, dtype=np.float32)
    if styles.BACKGROUND_TEXTURE in style.parts:
        strength = styles.BACKGROUND_TEXTURE_STRENGTH
        amount[:FIRST_THING] = strength
        amount[VOID] = strength
        amount[SKY] = 0.25 * strength
        amount[[ROAD, SIDEWALK]] = 0.6 * strength
        amount[[VEGETATION, TERRAIN]] = styles.FOLIAGE_TEXTURE_FACTOR * strength
    if styles.OBJECT_TEXTURE in style.parts:
        amount[FIRST_THING:EGO] = styles.OBJECT_TEXTURE_STRENGTH
    size = labels.shape[0], labels.shape[1]
    field = noise_field(rng, size, 2.0 * unit)
    field += noise_field(rng, size, 5.0 * unit)
    field += noise_field(rng, size, 14.0 * unit)
    field *= _looked_up(labels, np.float32(1 / math.sqrt(3)) * amount)
    return field


def object_gain(labels: Image, spans: dict[int, tuple[float, float]]) -> Plane:
    """Return a gain that makes every object lighter at its top and darker at its foot."""
    slope = np.zeros(256, dtype=np.float32)
    offset = np.ones(256, dtype=np.float32)
    for label, (top, foot) in spans.items():
        height = max(foot - top, 1.0)
        slope[label] = -2.0 * styles.OBJECT_SHADING / height
        offset[label] = 1.0 + styles.OBJECT_SHADING * (1.0 + 2.0 * top / height)
    gain = _looked_up(labels, slope)
    gain *= np.arange(len(labels), dtype=np.float32)[:, None]
    gain += _looked_up(labels, offset)
    return gain


def light_gain(size: tuple[int, ...], style: Style, *, angle: float, share: float) -> Plane | None:
    """Return the gain of uneven light and of the lens, or None when both parts are off."""
    if not {styles.LIGHTING, styles.VIGNETTING} & style.parts:
        return None
    y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None, :]
    gain = np.ones((size[0], size[1]), dtype=np.float32)
    if styles.LIGHTING in style.parts:
        slope = styles.LIGHT_GRADIENT * (0.3 + 0.7 * share)
        gain += np.float32(slope * math.cos(angle)) * x
        gain += np.float32(0.5 * slope * math.sin(angle)) * y
    if styles.VIGNETTING in style.parts:
        gain *= 1.0 - np.float32(0.5 * styles.VIGNETTE_STRENGTH) * (x * x + y * y)
    return gain


def blurred(image: Image, sigma: float) -> Image:
    """Return the picture behind a Gaussian lens."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def sensor_noise(image: Image, sigma: float, rng: PixelRng) -> Image:
    """Return the picture with grain: fine in brightness, coarser in colour.

    Args:
        image: the picture.
        sigma: standard deviation of the brightness in grey levels.
        rng: where the grain comes from.
    """
    height, width = image.shape[:2]
    # The mean of two uniform bytes is close enough to Gauss and much faster; deviation 52.3.
    pair = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    fine = np.asarray(cv2.addWeighted(pair[0], 0.5, pair[1], 0.5, 0.0), dtype=np.uint8)
    coarse = rng.integers(0, 256, (height // 2 + 1, width // 2 + 1, 3), dtype=np.uint8)
    color = np.asarray(cv2.resize(coarse, (width, height)), dtype=np.uint8)
    return _added(_added(image, _three(fine), sigma / 52.3), color, 0.6 * sigma / 52.3)


def compressed(image: Image, quality: int) -> Image:
    """Return the picture after JPEG compression."""
    _, packed = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _looked_up(labels: Image, table: Plane) -> Plane:
    return np.asarray(cv2.LUT(labels, table), dtype=np.float32)


def _added(image: Image, field: Image, factor: float) -> Image:
    """Return the picture plus `factor` times a field whose zero is the middle grey."""
    total = cv2.addWeighted(image, 1.0, field, factor, -_MIDDLE * factor)
    return np.asarray(total, dtype=np.uint8)


def _three(plane: Image) -> Image:
    """Return a plane repeated for the three colours."""
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _to_bytes(values: Plane) -> Image:
    """Round to 0..255."""
    return np.asarray(cv2.convertScaleAbs(np.maximum(values, 0.0)), dtype=np.uint8)
