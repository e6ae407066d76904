"""What everything is painted with: a perspective view of the street and a pair of planes.

Coordinates: world metres (x right, y up, z forward, camera above the origin); pixels (x, y) with
pixel centres at whole numbers. Appearance is drawn with anti-aliasing, labels are filled hard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Color = tuple[float, float, float]

# Numbers of the label plane: stuff by trainId, instances from here on, then the special ones.
FIRST_THING: Final = 32
GROUP: Final = 253
EGO: Final = 254
SHIFT: Final = 4  # fractional bits of the fixed-point coordinates handed to OpenCV
_ONE: Final = 1 << SHIFT
_NEAR: Final = 0.4  # metres; nothing is projected from nearer than this


@dataclass(frozen=True, slots=True)
class Rig:
    """A camera: focal length in image widths, height in metres, horizon as share of the rows."""

    focal: float
    height: float
    horizon: float


@dataclass(frozen=True, slots=True)
class View:
    """A rig looking down the street at one image size."""

    rig: Rig
    size: tuple[int, int]

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.rig.focal * self.size[1]

    @property
    def unit(self) -> float:
        """Pixels that correspond to one pixel at 128x256: line widths, blur radii."""
        height, width = self.size
        return float(np.sqrt(height * width / (128 * 256)))

    def project(self, points: Points) -> Points:
        """Return the pixels (..., 2) of world points (..., 3)."""
        return self.project_parts(points[..., 0], points[..., 1], points[..., 2])

    def project_parts(self, x: Points | float, y: Points | float, z: Points) -> Points:
        """Return the pixels (..., 2) of points given by coordinate; `x` and `y` may be numbers."""
        scale = self.focal / np.maximum(z, _NEAR)
        out = np.empty((*z.shape, 2))
        out[..., 0] = 0.5 * self.size[1] + scale * x
        out[..., 1] = self.rig.horizon * self.size[0] + scale * (self.rig.height - y)
        return out

    def pixel(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the pixel of one world point."""
        scale = self.focal / max(z, _NEAR)
        return (
            0.5 * self.size[1] + scale * x,
            self.rig.horizon * self.size[0] + scale * (self.rig.height - y),
        )

    def ground(self, x: float, z: float) -> tuple[float, float]:
        """Return the pixel of a point on the road surface."""
        return self.pixel(x, 0.0, z)


def fixed_point(points: Points) -> NDArray[np.int32]:
    """Return fixed-point coordinates for OpenCV.

    Nothing is nearer than `_NEAR` and the ground ends at the sides, so these stay inside int32.
    """
    scaled = points * _ONE
    return np.rint(scaled, out=scaled).astype(np.int32)


class Canvas:
    """An RGB image and a plane of surface labels, painted far to near.

    A label of None paints appearance alone: a detail inside what is already there.
    """

    __slots__ = ("image", "labels", "size")

    def __init__(self, size: tuple[int, int], background: Color, label: int) -> None:
        """Fill both planes."""
        self.size = size
        row = np.tile(np.clip(background, 0, 255).astype(np.uint8), size[1])
        self.image = np.tile(row, size[0]).reshape(*size, 3)  # rows at a time, not pixels
        self.labels = np.full(size, label, dtype=np.uint8)

    def fill(self, points: Points, color: Color, label: int | None = None) -> None:
        """Fill one polygon (n, 2)."""
        fixed = fixed_point(points)
        cv2.fillPoly(self.image, [fixed], color, cv2.LINE_AA, SHIFT)
        if label is not None:
            cv2.fillPoly(self.labels, [fixed], label, cv2.LINE_8, SHIFT)

    def fill_many(self, polygons: Points, color: Color, label: int | None = None) -> None:
        """Fill disjoint polygons (k, n, 2) of one colour."""
        if len(polygons) == 0:
            return
        fixed = list(fixed_point(polygons))
        cv2.fillPoly(self.image, fixed, color, cv2.LINE_AA, SHIFT)
        if label is not None:
            cv2.fillPoly(self.labels, fixed, label, cv2.LINE_8, SHIFT)

    def fill_each(self, polygons: Points, colors: Sequence[Color], label: int) -> None:
        """Fill polygons (k, n, 2) one over the other, each in its own colour."""
        for fixed, color in zip(fixed_point(polygons), colors, strict=True):
            cv2.fillPoly(self.image, [fixed], color, cv2.LINE_AA, SHIFT)
            cv2.fillPoly(self.labels, [fixed], label, cv2.LINE_8, SHIFT)

    def line(
        self,
        points: Points,
        width: float,
        color: Color,
        label: int | None = None,
    ) -> None:
        """Draw a polyline (n, 2) at least one pixel wide."""
        fixed = fixed_point(points)
        thickness = max(1, round(width))
        cv2.polylines(self.image, [fixed], False, color, thickness, cv2.LINE_AA, SHIFT)
        if label is not None:
            cv2.polylines(self.labels, [fixed], False, label, thickness, cv2.LINE_8, SHIFT)

    def ellipse(
        self,
        center: tuple[float, float],
        axes: tuple[float, float],
        color: Color,
        label: int | None = None,
        *,
        points: int = 16,
    ) -> None:
        """Fill an axis-parallel ellipse given by its half axes."""
        self.fill(ellipse_points(center, axes, points), color, label)

    def darken(self, shadow: NDArray[np.uint8]) -> None:
        """Take away light in proportion to `shadow` (255 takes all of it)."""
        light = cv2.cvtColor(255 - shadow, cv2.COLOR_GRAY2RGB)
        cv2.multiply(self.image, light, dst=self.image, scale=1 / 255)


@lru_cache(maxsize=64)
def circle(count: int) -> Points:
    """Return `count` points on the unit circle; shared, so never changed."""
    angle = np.arange(count) * (2 * np.pi / count)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points.setflags(write=False)
    return points


def ellipse_points(center: tuple[float, float], axes: tuple[float, float], count: int) -> Points:
    """Return `count` points on an axis-parallel ellipse."""
    return circle(count) * axes + center


@lru_cache(maxsize=128)
def _corner_cut(count: int, iterations: int) -> Points:
    """Return the matrix that cuts the corners of a closed polygon of `count` points (Chaikin)."""
    matrix = np.eye(count)
    for _ in range(iterations):
        following = np.roll(matrix, -1, axis=0)
        cut = np.empty((2 * len(matrix), count))
        cut[0::2] = 0.8 * matrix + 0.2 * following
        cut[1::2] = 0.2 * matrix + 0.8 * following
        matrix = cut
    return matrix


def rounded(points: Points, iterations: int) -> Points:
    """Cut the corners of a closed polygon (Chaikin); 0 iterations return it unchanged."""
    return _corner_cut(len(points), iterations) @ points if iterations else points


def rounded_corners(points: Points, radius: float) -> Points:
    """Round the corners of a closed outline, reaching at most `radius` along either edge."""
    edge = np.roll(points, -1, axis=0) - points
    length = np.hypot(edge[:, 0], edge[:, 1])
    share = np.minimum(0.35, radius / np.maximum(length, 1e-6))[:, None]
    cut = np.empty((2 * len(points), 2))
    cut[0::2] = points + share * edge
    cut[1::2] = points + (1.0 - share) * edge
    # The second cut only breaks the new short edges; the long ones are cut by the same reach.
    edge = np.roll(cut, -1, axis=0) - cut
    length = np.hypot(edge[:, 0], edge[:, 1])
    share = np.minimum(0.25, 0.3 * radius / np.maximum(length, 1e-6))[:, None]
    out = np.empty((2 * len(cut), 2))
    out[0::2] = cut + share * edge
    out[1::2] = cut + (1.0 - share) * edge
    return out


def shaded(color: Color, factor: float) -> Color:
    """Return the colour made darker or lighter, clipped to 0..255."""
    return (
        min(255.0, color[0] * factor),
        min(255.0, color[1] * factor),
        min(255.0, color[2] * factor),
    )


def mixed(color: Color, other: Color, share: float) -> Color:
    """Return the colour blended with `share` of another."""
    keep = 1.0 - share
    return (
        keep * color[0] + share * other[0],
        keep * color[1] + share * other[1],
        keep * color[2] + share * other[2],
    )
