"""What stands along the street: trees, bushes, lamps, posts, traffic lights and signs, bins."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

import numpy as np

from uda4inst.toystreets.canvas import Canvas, Color, Points, View, rounded, shaded
from uda4inst.toystreets.street import (
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    VOID,
    paint_crown,
)
from uda4inst.toystreets.styles import Style
from uda4inst.toystreets.world import Prop, Rng

_TRUNK: Final = (92.0, 70.0, 50.0)
_LIGHT_BOX: Final = (35.0, 36.0, 34.0)
_LAMPS: Final = ((230.0, 40.0, 30.0), (240.0, 190.0, 40.0), (40.0, 210.0, 90.0))


@dataclass(frozen=True, slots=True)
class _Stand:
    """Paints upright pieces above one point of the ground, in metres."""

    canvas: Canvas
    foot: tuple[float, float]
    scale: float

    def upright(self, low: float, high: float, width: float, color: Color, label: int) -> None:
        """Fill an upright bar, at least one pixel wide."""
        half = max(0.5 * width * self.scale, 0.5)
        left, right = self.foot[0] - half, self.foot[0] + half
        top, bottom = self.above(high)[1], self.above(low)[1]
        bar = [[left, bottom], [left, top], [right, top], [right, bottom]]
        self.canvas.fill(np.array(bar), color, label)

    def above(self, height: float, across: float = 0.0) -> tuple[float, float]:
        """Return the pixel of a point above the foot."""
        return self.foot[0] + self.scale * across, self.foot[1] - self.scale * height


def paint_prop(canvas: Canvas, prop: Prop, view: View, style: Style) -> None:
    """Paint a tree or a piece of street furniture."""
    rng = random.Random(prop.variant)
    pole, height = style.palette.pole, prop.height
    stand = _Stand(canvas, view.ground(prop.x, prop.z), view.focal / prop.z)
    if prop.kind == "tree":
        radius = 0.33 * height
        stand.upright(0.0, height - radius, 0.3, style.tone(_TRUNK), VEGETATION)
        center = (prop.x, height - 0.8 * radius, prop.z)
        paint_crown(canvas, view, center, radius, style, rng)
    elif prop.kind == "bush":
        paint_crown(canvas, view, (prop.x, 0.4 * height, prop.z), 0.8 * height, style, rng)
    elif prop.kind == "bin":
        stand.upright(0.0, height, 0.6, style.object_color(rng, grey=0.4), VOID)
    elif prop.kind == "post":
        stand.upright(0.0, height, 0.12, shaded(pole, rng.uniform(0.6, 1.3)), POLE)
    elif prop.kind == "lamp":
        stand.upright(0.0, height, 0.16, pole, POLE)
        arm = [stand.above(height), stand.above(height + 0.2, -math.copysign(1.4, prop.x))]
        canvas.line(np.array(arm), 0.12 * stand.scale, pole, POLE)
    elif prop.kind == "traffic_light":
        stand.upright(0.0, height, 0.14, pole, POLE)
        stand.upright(height - 0.95, height, 0.36, _LIGHT_BOX, TRAFFIC_LIGHT)
        lamp = rng.randrange(3)
        radius = 0.11 * stand.scale
        center = stand.above(height - 0.2 - 0.28 * lamp)
        canvas.ellipse(center, (radius, radius), _LAMPS[lamp], points=10)
    else:
        stand.upright(0.0, height, 0.1, pole, POLE)
        _paint_sign(canvas, stand.above(height - 0.3), stand.scale, style, rng)


def _outline(count: int, turn: float) -> Points:
    angle = np.arange(count) * (2 * np.pi / count) + turn
    return np.stack([np.cos(angle), np.sin(angle)], 1)


_SIGN_COLORS: Final = ((205.0, 30.0, 35.0), (240.0, 240.0, 240.0), (30.0, 80.0, 190.0))
_SIGN_OUTLINES: Final = (_outline(14, 0.0), _outline(3, -np.pi / 2), _outline(4, np.pi / 4))


def _paint_sign(
    canvas: Canvas,
    center: tuple[float, float],
    scale: float,
    style: Style,
    rng: Rng,
) -> None:
    """Paint a round, triangular or square traffic sign."""
    kind = rng.randrange(3)
    red, white, blue = (style.tone(color) for color in _SIGN_COLORS)
    radius = 0.36 * scale
    ring = _SIGN_OUTLINES[kind]
    outer = np.array(center) + radius * (1.25 if kind else 1.0) * ring
    canvas.fill(rounded(outer, min(style.rounding, 1)), blue if kind == 2 else red, TRAFFIC_SIGN)
    canvas.fill(np.array(center) + 0.65 * radius * ring, white)
