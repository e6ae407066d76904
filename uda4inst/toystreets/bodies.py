"""A vehicle's body in perspective: a side profile pulled to its width, wheels, tyres and lights."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from uda4inst.toystreets.canvas import (
    Canvas,
    Color,
    Points,
    View,
    circle,
    rounded_corners,
    shaded,
)
from uda4inst.toystreets.styles import Style
from uda4inst.toystreets.world import Thing

_CORNER: Final = 0.3  # metres: how far the rounding of a body's corner reaches
_TAIL_LIGHT: Final = (200.0, 30.0, 30.0)
_HEADLIGHT: Final = (245.0, 240.0, 215.0)


class Body:
    """A vehicle's own axes (metres along, up and to the right), placed in the world."""

    __slots__ = (
        "axis",
        "length",
        "origin",
        "sees_front",
        "sees_rear",
        "side",
        "view",
        "visible",
        "width",
    )

    def __init__(self, thing: Thing, view: View, shift: float, length: float) -> None:
        self.view = view
        self.length = length
        self.width = thing.width
        sin, cos = math.sin(thing.yaw), math.cos(thing.yaw)
        self.axis = (sin, cos)  # the heading, in (x, z)
        self.side = (cos, -sin)  # the right-hand side seen along the heading
        rear = shift - 0.5 * thing.length
        self.origin = (thing.x + rear * sin, thing.z + rear * cos)
        # A side is seen when the camera (at x = z = 0) lies outside of it.
        across = -(self.origin[0] * cos - self.origin[1] * sin)
        self.visible = 0.0
        if abs(across) > 0.5 * self.width:
            self.visible = math.copysign(1.0, across)
        along = -(self.origin[0] * sin + self.origin[1] * cos)
        self.sees_rear = along < 0  # whether the rear end faces the camera
        self.sees_front = along > length

    def at(self, points: Points, across: float) -> Points:
        """Project (n, 2) points given along and up, `across` half widths to the right."""
        along, offset = points[:, 0], 0.5 * self.width * across
        return self.view.project_parts(
            (self.origin[0] + offset * self.side[0]) + along * self.axis[0],
            points[:, 1],
            (self.origin[1] + offset * self.side[1]) + along * self.axis[1],
        )

    def pixel(self, along: float, up: float, across: float) -> tuple[float, float]:
        """Project one point, `across` half widths to the right."""
        offset = 0.5 * self.width * across
        return self.view.pixel(
            self.origin[0] + offset * self.side[0] + along * self.axis[0],
            up,
            self.origin[1] + offset * self.side[1] + along * self.axis[1],
        )

    def end_quad(
        self, along: tuple[float, float], up: tuple[float, float], across: tuple[float, float]
    ) -> Points:
        """Project a quad across the body from (along[0], up[0]) to (along[1], up[1])."""
        return np.array(
            [
                self.pixel(along[0], up[0], across[0]),
                self.pixel(along[1], up[1], across[0]),
                self.pixel(along[1], up[1], across[1]),
                self.pixel(along[0], up[0], across[1]),
            ]
        )


def extrude(
    canvas: Canvas, body: Body, profile: Points, color: Color, label: int, *, contrast: float
) -> None:
    """Paint a profile pulled across the body's width, faces lit from above."""
    left, right = body.at(profile, -1.0), body.at(profile, 1.0)
    following = np.arange(1, len(profile) + 1)
    following[-1] = 0
    quads = np.empty((len(profile), 4, 2))
    quads[:, 0], quads[:, 1], quads[:, 2], quads[:, 3] = (
        left,
        left[following],
        right[following],
        right,
    )
    area = signed_areas(quads)
    edge = profile[following] - profile
    up = edge[:, 0] / np.maximum(np.hypot(edge[:, 0], edge[:, 1]), 1e-6)
    middle = 0.5 * (profile[following, 0] + profile[:, 0])
    depth = body.origin[1] + middle * body.axis[1]
    for index in np.argsort(-depth):
        if area[index] > 0.0 and up[index] > -0.9:
            light = 1.0 + contrast * (float(up[index]) - 0.35)
            canvas.fill(quads[index], shaded(color, light), label)
    if body.visible:
        canvas.fill(
            right if body.visible > 0 else left, shaded(color, 1.0 - 0.25 * contrast), label
        )


def signed_areas(quads: Points) -> Points:
    """Return the signed areas of quads (..., 4, 2), from their diagonals; positive faces us."""
    first = quads[..., 2, :] - quads[..., 0, :]
    second = quads[..., 3, :] - quads[..., 1, :]
    return 0.5 * (first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def smoothed(profile: Points, style: Style) -> Points:
    """Return the profile, its corners rounded where the style says so."""
    return rounded_corners(profile, _CORNER) if style.rounding else profile


def _disc(center: tuple[float, float], radius: float, count: int) -> Points:
    return circle(count) * radius + center


def paint_wheels(
    canvas: Canvas, body: Body, style: Style, label: int, *, at: tuple[float, ...], radius: float
) -> None:
    """Paint the wheels of the visible side."""
    if not body.visible:
        return
    count = 16 if style.rounding else 9
    for along in at:
        tyre = _disc((along, radius), radius, count)
        canvas.fill(body.at(tyre, body.visible), style.palette.tyre, label)
        hub = _disc((along, radius), 0.5 * radius, count)
        canvas.fill(body.at(hub, body.visible), style.palette.metal)


def paint_tyre_ends(
    canvas: Canvas,
    body: Body,
    style: Style,
    label: int,
    *,
    height: float,
    axles: tuple[float, float],
) -> None:
    """Paint the tyres seen below the end that faces the camera, and the dark underbody."""
    along = axles[0] if body.sees_rear else axles[1]
    for across in ((-0.98, -0.68), (0.68, 0.98)):
        quad = body.end_quad((along, along), (0.0, height), across)
        canvas.fill(quad, style.palette.tyre, label)
    canvas.fill(
        body.end_quad((along, along), (0.55 * height, 1.5 * height), (-0.95, 0.95)),
        style.palette.tyre,
        label,
    )


def paint_on_side(canvas: Canvas, body: Body, points: Points, color: Color) -> None:
    """Paint a detail on the visible side, its outline given along and up."""
    if body.visible:
        canvas.fill(body.at(points, body.visible), color)


def paint_lights(
    canvas: Canvas, body: Body, style: Style, height: tuple[float, float], *, inset: float
) -> None:
    """Paint the tail lights or headlights of the end that faces the camera."""
    if body.sees_rear:
        along, color = 0.0, style.tone(_TAIL_LIGHT)
    elif body.sees_front:
        along, color = body.length, style.tone(_HEADLIGHT)
    else:
        return
    for across in ((-0.94, -0.94 + inset), (0.94 - inset, 0.94)):
        canvas.fill(body.end_quad((along, along), height, across), color)
