"""Persons, riders and two-wheelers: flat figures that stand facing the camera's side of them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from uda4inst.toystreets.canvas import (
    Canvas,
    Color,
    Points,
    View,
    ellipse_points,
    rounded,
    shaded,
)
from uda4inst.toystreets.styles import Style
from uda4inst.toystreets.world import MOTORCYCLE, Rng, Thing


@dataclass(frozen=True, slots=True)
class _Figure:
    """Maps a figure's own metres (right, up) to pixels: foreshortened across, standing upright."""

    canvas: Canvas
    foot: tuple[float, float]
    scale: float
    across: float
    label: int
    rounding: int

    def fill(self, points: Points, color: Color, *, detail: bool = False) -> None:
        """Fill a polygon given in the figure's metres."""
        self.canvas.fill(
            self.pixels(rounded(points, self.rounding)), color, None if detail else self.label
        )

    def pixels(self, points: Points) -> Points:
        """Return the pixels of points given in the figure's metres."""
        return points * (self.scale * self.across, -self.scale) + self.foot

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        widths: tuple[float, float],
        color: Color,
    ) -> None:
        """Fill a tapering limb; its width does not shrink with the foreshortening."""
        along = ((end[0] - start[0]) * self.across, end[1] - start[1])
        norm = math.hypot(*along) or 1.0
        x, y = -0.5 * along[1] / (norm * self.across), 0.5 * along[0] / norm
        (x0, y0), (x1, y1), (w0, w1) = start, end, widths
        quad = [
            (x0 + w0 * x, y0 + w0 * y),
            (x1 + w1 * x, y1 + w1 * y),
            (x1 - w1 * x, y1 - w1 * y),
            (x0 - w0 * x, y0 - w0 * y),
        ]
        self.fill(np.array(quad), color)

    def disc(self, center: tuple[float, float], radius: float, color: Color) -> None:
        """Fill a circle that keeps its shape under the foreshortening."""
        count = 14 if self.rounding else 8
        points = ellipse_points(center, (radius / abs(self.across), radius), count)
        self.canvas.fill(self.pixels(points), color, self.label)


def _figure(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, across: float
) -> _Figure:
    return _Figure(
        canvas=canvas,
        foot=view.ground(thing.x, thing.z),
        scale=view.focal / thing.z,
        across=across,
        label=label,
        rounding=style.rounding,
    )


def _skin(style: Style, rng: Rng) -> Color:
    return shaded(style.palette.skin, rng.uniform(0.45, 1.05))


def _hair(style: Style, rng: Rng) -> Color:
    return style.tone((rng.uniform(20, 150), rng.uniform(15, 90), 30.0))


def paint_person(canvas: Canvas, thing: Thing, view: View, style: Style, label: int) -> None:
    """Paint a pedestrian; `label` goes to the label plane."""
    rng = random.Random(thing.variant)
    size = thing.height / 1.72
    turn = math.sin(thing.yaw)
    side = abs(turn)  # 1 when seen from the side
    figure = _figure(canvas, thing, view, style, label, 1.0)
    top, legs = style.object_color(rng, grey=0.25), style.object_color(rng, grey=0.45)
    skin, hair = _skin(style, rng), _hair(style, rng)
    stride = size * (0.06 + rng.uniform(0.02, 0.26) * side)
    swing = size * rng.uniform(0.05, 0.3) * side
    half = size * (0.23 - 0.07 * side)  # of the shoulders
    shoulder, neck = 1.42 * size, 1.48 * size
    lean = math.copysign(0.05, turn) * side * size
    arm = (0.12 * size, 0.09 * size)
    figure.limb(
        (-half, shoulder - 0.08 * size), (-half - 0.06 - swing, 0.8 * size), arm, shaded(top, 0.8)
    )
    _paint_legs(figure, size, stride, 0.09 * size * (1 - 0.6 * side), legs, shoes=not style.simple)
    coat = size * (0.81 - (rng.uniform(0.1, 0.45) if rng.random() < 0.3 else 0.0))
    right = [
        (0.6 * half + lean, shoulder + 0.03 * size),
        (half + lean, shoulder - 0.05 * size),
        (0.85 * half, coat),
    ]
    left = [(2 * lean * (y > coat) - x, y) for x, y in reversed(right)]
    figure.fill(np.array(left + right), top)
    if rng.random() < 0.3 and not style.simple:  # rucksack or bag
        middle = -math.copysign(0.9, turn) * half + lean
        bag = [(-0.12, 0.95), (-0.12, 1.35), (0.12, 1.35), (0.12, 0.95)]
        figure.fill(np.array(bag) * (1.0, size) + (middle, 0.0), style.object_color(rng))
    figure.limb(
        (half, shoulder - 0.06 * size), (half + 0.05 + swing, 0.8 * size), arm, shaded(top, 0.92)
    )
    figure.limb((lean, shoulder), (lean, neck + 0.05 * size), (0.1 * size, 0.1 * size), skin)
    figure.disc((1.3 * lean, neck + 0.145 * size), 0.125 * size, hair)
    figure.disc((1.8 * lean, neck + 0.1 * size), 0.1 * size, skin)


def _paint_legs(
    figure: _Figure, size: float, stride: float, apart: float, color: Color, *, shoes: bool
) -> None:
    """Paint both legs, `apart` from the middle at the hip and `stride` more at the feet."""
    hip, widths = 0.86 * size, (0.19 * size, 0.12 * size)
    figure.limb((-apart, hip), (-apart - stride, 0.04), widths, shaded(color, 0.85))
    figure.limb((apart, hip), (apart + stride, 0.04), widths, color)
    if not shoes:
        return
    for foot in (-apart - stride, apart + stride):
        shoe = [(foot - 0.08, 0.0), (foot - 0.07, 0.09), (foot + 0.07, 0.09), (foot + 0.12, 0.0)]
        figure.fill(np.array(shoe), shaded(color, 0.5))


def paint_two_wheeler(
    canvas: Canvas, thing: Thing, view: View, style: Style, labels: tuple[int, int | None]
) -> None:
    """Paint a two-wheeler and its rider; `labels` are theirs, the rider's None if parked."""
    rng = random.Random(thing.variant)
    heading = 1.0 if math.sin(thing.yaw) >= 0 else -1.0
    across = heading * max(0.42, abs(float(math.sin(thing.yaw))))
    size = thing.length / (2.1 if thing.label == MOTORCYCLE else 1.75)
    bike = _figure(canvas, thing, view, style, labels[0], across)
    rider = None if labels[1] is None else _figure(canvas, thing, view, style, labels[1], across)
    if thing.label == MOTORCYCLE:
        _paint_motorcycle(bike, rider, style, rng, size)
    else:
        _paint_bicycle(bike, rider, style, rng, size)


def _wheel(figure: _Figure, x: float, radius: float, tyre: float, color: Color) -> None:
    """Draw a wheel as a ring: the street shows through between the spokes."""
    points = figure.pixels(ellipse_points((x, radius), (radius, radius), 20))
    closed = np.concatenate([points, points[:2]])
    figure.canvas.line(closed, tyre * figure.scale, color, figure.label)


def _paint_bicycle(
    bike: _Figure, rider: _Figure | None, style: Style, rng: Rng, size: float
) -> None:
    radius, base = 0.34 * size, 0.53 * size
    frame = style.object_color(rng, grey=0.2)
    tyre = style.palette.tyre
    hip, shoulder, hand = (
        (-0.22 * size, 1.02 * size),
        (0.12 * size, 1.5 * size),
        (0.42, 1.08 * size),
    )
    clothes, legs = style.object_color(rng, grey=0.2), style.object_color(rng, grey=0.4)
    pedal = rng.uniform(-0.14, 0.14)
    knee = (0.16 * size + 0.4 * pedal, 0.72 * size)
    if rider is not None:
        far_knee, far_foot = (knee[0] - 0.1, knee[1] + 0.1), (0.05 - pedal, 0.35)
        _rider_leg(rider, hip, far_knee, far_foot, shaded(legs, 0.75))
    for x in (-base, base):
        _wheel(bike, x, radius, 0.075, tyre)
    tube = 0.07 * bike.scale
    crank, saddle, stem = (0.0, 0.32 * size), (-0.2 * size, 0.9 * size), (0.4 * size, 0.88 * size)
    for chain in (
        ((-base, radius), crank, stem, saddle, crank),
        ((-base, radius), saddle),
        ((base, radius), stem, (0.44 * size, 1.06 * size)),
    ):
        bike.canvas.line(bike.pixels(np.array(chain)), tube, frame, bike.label)
    bike.fill(np.array([[-0.34, 0.92], [-0.32, 0.98], [-0.08, 0.97], [-0.08, 0.92]]) * size, tyre)
    if rider is None:
        _paint_bicycle_fittings(bike, style, size)
        return
    _rider_leg(rider, hip, knee, (0.02 + pedal, 0.3), legs)
    _rider_body(rider, style, rng, size, hip, shoulder, hand, clothes)


def _paint_bicycle_fittings(bike: _Figure, style: Style, size: float) -> None:
    """Paint what a rider hides or does without: handlebar, carrier, cranks, kickstand."""
    tyre, metal = style.palette.tyre, shaded(style.palette.metal, 0.7)
    handlebar = ((0.42, 0.98), (0.46, 1.08), (0.24, 1.11))
    carrier = ((-0.26, 0.72), (-0.72, 0.74), (-0.53, 0.34))
    cranks = ((-0.12, 0.22), (0.12, 0.42))
    stand = ((-0.1, 0.32), (-0.26, 0.0))
    for chain, width, color in (
        (carrier, 0.05, metal),
        (cranks, 0.05, metal),
        (stand, 0.05, metal),
        (handlebar, 0.09, tyre),
    ):
        pixels = bike.pixels(np.array(chain) * size)
        bike.canvas.line(pixels, width * bike.scale, color, bike.label)


def _paint_motorcycle(
    bike: _Figure, rider: _Figure | None, style: Style, rng: Rng, size: float
) -> None:
    radius, base = 0.31 * size, 0.7 * size
    color, dark = style.object_color(rng, grey=0.25), style.palette.tyre
    hip, shoulder, hand = (-0.2 * size, 0.88 * size), (0.08 * size, 1.4 * size), (0.48, 1.0 * size)
    clothes, legs = style.object_color(rng, grey=0.4), style.object_color(rng, grey=0.5)
    for x in (-base, base):
        points = ellipse_points((x, radius), (radius, radius), 16 if bike.rounding else 10)
        bike.canvas.fill(bike.pixels(points), dark, bike.label)
        inner = ellipse_points((x, radius), (0.5 * radius, 0.5 * radius), 10)
        bike.canvas.fill(bike.pixels(inner), style.palette.metal)
    bike.limb((base, radius), (0.45 * size, 1.0 * size), (0.13, 0.13), style.palette.metal)
    engine = [[-0.5, 0.22], [-0.55, 0.5], [0.5, 0.55], [0.42, 0.2]]
    bike.fill(np.array(engine) * size, shaded(style.palette.metal, 0.55))
    body = [[-1.0, 0.72], [-0.95, 0.85], [-0.3, 0.78], [-0.02, 0.84], [0.12, 0.98], [0.5, 0.98],
            [0.72, 0.8], [0.55, 0.6], [0.3, 0.48], [-0.45, 0.5]]  # fmt: skip
    bike.fill(np.array(body) * size, color)
    bike.limb((0.42 * size, 0.95 * size), (0.34 * size, 1.14 * size), (0.08, 0.08), dark)
    if rider is None:
        _paint_motorcycle_fittings(bike, style, size)
        return
    knee = (0.2 * size, 0.72 * size)
    _rider_leg(rider, hip, knee, (-0.02, 0.3), legs)
    _rider_body(rider, style, rng, size, hip, shoulder, hand, clothes, helmet=True)


def _paint_motorcycle_fittings(bike: _Figure, style: Style, size: float) -> None:
    """Paint what a rider hides or does without: saddle, handlebar, mirror, exhaust, kickstand."""
    dark, metal = style.palette.tyre, style.palette.metal
    saddle = [[-0.98, 0.84], [-0.92, 0.95], [-0.5, 0.88], [-0.2, 0.84], [0.02, 0.9], [0.04, 0.82],
              [-0.3, 0.75]]  # fmt: skip
    bike.fill(np.array(saddle) * size, dark)
    for start, end, width, color in (
        ((-0.2, 0.3), (-0.85, 0.38), 0.1, metal),  # exhaust
        ((-0.05, 0.3), (-0.2, 0.0), 0.06, dark),  # kickstand
        ((0.4, 1.12), (0.18, 1.18), 0.08, dark),  # handlebar
        ((0.32, 1.14), (0.38, 1.32), 0.04, dark),  # mirror's stalk
    ):
        first, last = (start[0] * size, start[1] * size), (end[0] * size, end[1] * size)
        bike.limb(first, last, (width, width), color)
    bike.disc((0.38 * size, 1.32 * size), 0.06 * size, dark)
    lamp = ellipse_points((0.66 * size, 0.88 * size), (0.07 * size, 0.08 * size), 10)
    bike.canvas.fill(bike.pixels(lamp), style.tone((235.0, 232.0, 215.0)))


def _rider_leg(
    rider: _Figure,
    hip: tuple[float, float],
    knee: tuple[float, float],
    foot: tuple[float, float],
    color: Color,
) -> None:
    rider.limb(hip, knee, (0.22, 0.16), color)
    rider.limb(knee, foot, (0.15, 0.11), shaded(color, 0.9))


def _rider_body(
    rider: _Figure,
    style: Style,
    rng: Rng,
    size: float,
    hip: tuple[float, float],
    shoulder: tuple[float, float],
    hand: tuple[float, float],
    clothes: Color,
    *,
    helmet: bool = False,
) -> None:
    """Paint back, arm and head of somebody bent over the handlebar."""
    rider.limb((hip[0], hip[1] - 0.08), shoulder, (0.34 * size, 0.36 * size), clothes)
    elbow = (0.5 * (shoulder[0] + hand[0]) + 0.02, 0.5 * (shoulder[1] + hand[1]) - 0.06)
    rider.limb((shoulder[0], shoulder[1] - 0.04), elbow, (0.14, 0.12), shaded(clothes, 0.85))
    rider.limb(elbow, hand, (0.12, 0.09), shaded(clothes, 0.85))
    head = (shoulder[0] + 0.13 * size, shoulder[1] + 0.17 * size)
    skin = _skin(style, rng)
    if helmet or rng.random() < 0.4:
        rider.disc((head[0], head[1]), 0.15 * size, style.object_color(rng, grey=0.3))
        rider.disc((head[0] + 0.05, head[1] - 0.03), 0.075 * size, shaded(skin, 0.6))
    else:
        hair = _hair(style, rng)
        rider.disc((head[0] - 0.02, head[1] + 0.03), 0.125 * size, hair)
        rider.disc((head[0] + 0.02, head[1] - 0.02), 0.1 * size, skin)
