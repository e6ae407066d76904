"""Cars, trucks, buses and trains: side profiles in metres, pulled to their width in perspective."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

import numpy as np

from uda4inst.data.toystreets.canvas import (
    Canvas,
    Color,
    Points,
    View,
    circle,
    rounded_corners,
    shaded,
)
from uda4inst.data.toystreets.styles import Style
from uda4inst.data.toystreets.world import BUS, CAR, TRAIN, TRUCK, Rng, Thing

_CORNER: Final = 0.3  # metres: how far the rounding of a body's corner reaches
# Profiles run from the rear foot over the roof to the front foot: (share of length, share of
# height). Second entry: side windows. Third: edges (rear window, windscreen) as profile indices.
_Profile = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class _CarBody:
    profile: _Profile
    windows: tuple[_Profile, ...]
    rear_glass: tuple[int, int]
    front_glass: tuple[int, int]
    wheels: tuple[float, float]
    height: float


_CARS: Final = (
    _CarBody(  # saloon
        profile=(
            (0.0, 0.2), (0.0, 0.55), (0.03, 0.66), (0.15, 0.69), (0.29, 0.97), (0.36, 1.0),
            (0.55, 1.0), (0.71, 0.68), (0.96, 0.57), (1.0, 0.45), (1.0, 0.2),
        ),
        windows=(
            ((0.21, 0.7), (0.31, 0.92), (0.42, 0.93), (0.42, 0.69)),
            ((0.45, 0.69), (0.45, 0.93), (0.54, 0.92), (0.66, 0.68)),
        ),
        rear_glass=(3, 4),
        front_glass=(6, 7),
        wheels=(0.19, 0.81),
        height=1.0,
    ),
    _CarBody(  # hatchback
        profile=(
            (0.0, 0.2), (0.0, 0.5), (0.02, 0.62), (0.12, 0.94), (0.2, 1.0), (0.5, 1.0),
            (0.7, 0.66), (0.95, 0.55), (1.0, 0.42), (1.0, 0.2),
        ),
        windows=(
            ((0.09, 0.66), (0.16, 0.92), (0.34, 0.93), (0.34, 0.66)),
            ((0.37, 0.66), (0.37, 0.93), (0.5, 0.92), (0.64, 0.66)),
        ),
        rear_glass=(2, 3),
        front_glass=(5, 6),
        wheels=(0.18, 0.81),
        height=1.04,
    ),
    _CarBody(  # estate or SUV
        profile=(
            (0.0, 0.22), (0.0, 0.6), (0.03, 0.66), (0.08, 0.95), (0.15, 1.0), (0.58, 1.0),
            (0.73, 0.68), (0.97, 0.6), (1.0, 0.5), (1.0, 0.22),
        ),
        windows=(
            ((0.07, 0.68), (0.12, 0.92), (0.3, 0.93), (0.3, 0.68)),
            ((0.33, 0.68), (0.33, 0.93), (0.57, 0.93), (0.68, 0.68)),
        ),
        rear_glass=(2, 3),
        front_glass=(5, 6),
        wheels=(0.18, 0.82),
        height=1.13,
    ),
)  # fmt: skip


class _Body:
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


def _extrude(
    canvas: Canvas, body: _Body, profile: Points, color: Color, label: int, *, contrast: float
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
    area = _signed_areas(quads)
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


def _signed_areas(quads: Points) -> Points:
    """Return the signed areas of quads (..., 4, 2), from their diagonals; positive faces us."""
    first = quads[..., 2, :] - quads[..., 0, :]
    second = quads[..., 3, :] - quads[..., 1, :]
    return 0.5 * (first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def _rounded(profile: Points, style: Style) -> Points:
    """Return the profile, its corners rounded where the style says so."""
    return rounded_corners(profile, _CORNER) if style.rounding else profile


def _circle(center: tuple[float, float], radius: float, count: int) -> Points:
    return circle(count) * radius + center


def _wheels(
    canvas: Canvas, body: _Body, style: Style, label: int, *, at: tuple[float, ...], radius: float
) -> None:
    """Paint the wheels of the visible side."""
    if not body.visible:
        return
    count = 16 if style.rounding else 9
    for along in at:
        tyre = _circle((along, radius), radius, count)
        canvas.fill(body.at(tyre, body.visible), style.palette.tyre, label)
        hub = _circle((along, radius), 0.5 * radius, count)
        canvas.fill(body.at(hub, body.visible), style.palette.metal)


def _tyre_ends(
    canvas: Canvas,
    body: _Body,
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


def _side_decal(canvas: Canvas, body: _Body, points: Points, color: Color) -> None:
    if body.visible:
        canvas.fill(body.at(points, body.visible), color)


def _lights(canvas: Canvas, body: _Body, height: tuple[float, float], *, inset: float) -> None:
    """Paint the tail lights or headlights of the end that faces the camera."""
    if body.sees_rear:
        along, color = 0.0, (200.0, 30.0, 30.0)
    elif body.sees_front:
        along, color = body.length, (245.0, 240.0, 215.0)
    else:
        return
    for across in ((-0.94, -0.94 + inset), (0.94 - inset, 0.94)):
        canvas.fill(body.end_quad((along, along), height, across), color)


def paint_vehicle(canvas: Canvas, thing: Thing, view: View, style: Style, label: int) -> None:
    """Paint a car, truck, bus or train; `label` goes to the label plane."""
    rng = random.Random(thing.variant)
    painter = {CAR: _paint_car, TRUCK: _paint_truck, BUS: _paint_bus, TRAIN: _paint_train}
    painter[thing.label](canvas, thing, view, style, label, rng)


def _paint_car(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, rng: Rng
) -> None:
    shape = _CARS[rng.randrange(len(_CARS))]
    body = _Body(thing, view, 0.0, thing.length)
    scale = np.array([thing.length, thing.height * shape.height])
    sharp = np.array(shape.profile) * scale
    color = style.object_color(rng, grey=0.35)
    glass = style.palette.glass
    wheels = (shape.wheels[0] * thing.length, shape.wheels[1] * thing.length)
    _tyre_ends(canvas, body, style, label, height=0.3, axles=wheels)
    _extrude(canvas, body, _rounded(sharp, style), color, label, contrast=0.3)
    pane = body.sees_rear, body.sees_front
    for seen, (low, high) in zip(pane, (shape.rear_glass, shape.front_glass), strict=True):
        if seen or low == shape.front_glass[0]:
            a, b = sharp[low], sharp[high]
            a, b = a + 0.1 * (b - a), b - 0.1 * (b - a)
            quad = body.end_quad((a[0], b[0]), (a[1], b[1]), (-0.82, 0.82))
            front = low == shape.front_glass[0]
            if (_signed_areas(quad) > 0) and (body.sees_front if front else seen):
                canvas.fill(quad, glass)
    for window in shape.windows:
        _side_decal(canvas, body, np.array(window) * scale, glass)
    _lights(canvas, body, (0.42 * scale[1], 0.55 * scale[1]), inset=0.3)
    if not style.simple and (body.sees_rear or body.sees_front):
        along = 0.0 if body.sees_rear else body.length
        plate = body.end_quad((along, along), (0.27 * scale[1], 0.35 * scale[1]), (-0.28, 0.28))
        canvas.fill(plate, style.palette.marking)
    _wheels(canvas, body, style, label, at=wheels, radius=0.33)


def _paint_truck(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, rng: Rng
) -> None:
    cab_length = 2.0
    cab_height = 0.76 * thing.height
    box_length = thing.length - cab_length - 0.25
    cab = _Body(thing, view, box_length + 0.25, cab_length)
    box = _Body(thing, view, 0.0, box_length)
    chassis = _Body(thing, view, 0.0, thing.length - 0.2)
    cab_color = style.object_color(rng, grey=0.3)
    box_color = style.object_color(rng, grey=0.6)
    _tyre_ends(canvas, chassis, style, label, height=0.45, axles=(1.0, thing.length - 1.2))
    frame = np.array([[0.0, 0.5], [0.0, 0.85], [chassis.length, 0.85], [chassis.length, 0.5]])
    _extrude(canvas, chassis, frame, style.palette.tyre, label, contrast=0.2)

    def paint_cab() -> None:
        profile = np.array(
            [[0.0, 0.45], [0.0, cab_height], [1.35, cab_height], [1.9, 0.58 * cab_height],
             [2.0, 0.5 * cab_height], [2.0, 0.4]]
        )  # fmt: skip
        _extrude(canvas, cab, _rounded(profile, style), cab_color, label, contrast=0.25)
        window = np.array(
            [[0.75, 0.6 * cab_height], [0.75, 0.9 * cab_height], [1.3, 0.9 * cab_height],
             [1.7, 0.6 * cab_height]]
        )  # fmt: skip
        _side_decal(canvas, cab, window, style.palette.glass)
        if cab.sees_front:
            pane = cab.end_quad((1.88, 1.4), (0.6 * cab_height, 0.95 * cab_height), (-0.86, 0.86))
            canvas.fill(pane, style.palette.glass)
            _lights(canvas, cab, (0.6, 0.85), inset=0.25)

    def paint_box() -> None:
        top = thing.height
        profile = np.array([[0.0, 0.85], [0.0, top], [box_length, top], [box_length, 0.85]])
        _extrude(canvas, box, _rounded(profile, style), box_color, label, contrast=0.25)
        if rng.random() < 0.5 and not style.simple:
            stripe = np.array(
                [[0.1, 0.45 * top], [0.1, 0.6 * top], [box_length - 0.1, 0.6 * top],
                 [box_length - 0.1, 0.45 * top]]
            )  # fmt: skip
            _side_decal(canvas, box, stripe, style.object_color(rng))
        if box.sees_rear:
            door = box.end_quad((0.0, 0.0), (0.95, top - 0.1), (-0.02, 0.02))
            canvas.fill(door, shaded(box_color, 0.5))
            _lights(canvas, chassis, (0.6, 0.8), inset=0.2)

    for paint in (
        (paint_cab, paint_box)
        if cab.sees_rear or box.sees_rear
        else (
            paint_box,
            paint_cab,
        )
    ):
        paint()
    _wheels(
        canvas,
        chassis,
        style,
        label,
        at=(1.0, 2.1, thing.length - 1.2),
        radius=0.48,
    )


def _panes(
    body: _Body, *, low: float, high: float, start: float, end: float, count: int, gap: float
) -> Points:
    """Project a row of equal panes on the visible side: (count, 4, 2)."""
    edges = np.linspace(start, end, count + 1)
    corners = np.empty((count, 4, 2))
    corners[:, :2, 0] = edges[:-1, None] + gap
    corners[:, 2:, 0] = edges[1:, None] - gap
    corners[:, :, 1] = (low, high, high, low)
    return body.at(corners.reshape(-1, 2), body.visible).reshape(count, 4, 2)


def _paint_bus(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, rng: Rng
) -> None:
    body = _Body(thing, view, 0.0, thing.length)
    long, top = thing.length, thing.height
    color = style.object_color(rng, grey=0.15)
    glass = style.palette.glass
    profile = np.array(
        [[0.0, 0.35], [0.0, 0.93 * top], [0.3, top], [long - 0.5, top], [long, 0.88 * top],
         [long, 0.35]]
    )  # fmt: skip
    _tyre_ends(canvas, body, style, label, height=0.45, axles=(0.24 * long, 0.8 * long))
    _extrude(canvas, body, _rounded(profile, style), color, label, contrast=0.25)
    if body.visible:
        panes = _panes(
            body, low=0.45 * top, high=0.83 * top, start=0.3, end=long - 0.2, count=7, gap=0.08
        )
        canvas.fill_many(panes, glass)
        if not style.simple:
            doors = [[0.62 * long, 0.4], [0.62 * long, 0.8 * top], [0.72 * long, 0.8 * top],
                     [0.72 * long, 0.4]]  # fmt: skip
            _side_decal(canvas, body, np.array(doors), shaded(glass, 1.15))
    if body.sees_rear:
        canvas.fill(body.end_quad((0.0, 0.0), (0.52 * top, 0.85 * top), (-0.85, 0.85)), glass)
    elif body.sees_front:
        canvas.fill(body.end_quad((long, long), (0.38 * top, 0.82 * top), (-0.92, 0.92)), glass)
        sign = body.end_quad((long, long), (0.86 * top, 0.93 * top), (-0.6, 0.6))
        canvas.fill(sign, (240.0, 190.0, 60.0))
    _lights(canvas, body, (0.2 * top, 0.27 * top), inset=0.25)
    _wheels(canvas, body, style, label, at=(0.24 * long, 0.8 * long), radius=0.48)


def _paint_train(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, rng: Rng
) -> None:
    cars, gap = 3, 0.5
    length = (thing.length - (cars - 1) * gap) / cars
    color, stripe = style.object_color(rng, grey=0.1), style.object_color(rng, grey=0.3)
    bodies = [_Body(thing, view, index * (length + gap), length) for index in range(cars)]
    depths = [body.origin[1] + 0.5 * length * body.axis[1] for body in bodies]
    for index in sorted(range(cars), key=lambda k: -depths[k]):
        ends = (index == 0, index == cars - 1)
        _paint_carriage(canvas, bodies[index], thing, style, label, (color, stripe), ends)
        if index < cars - 1:
            joint = _Body(thing, view, index * (length + gap) + length - 0.1, gap + 0.2)
            block = np.array([[0.0, 0.6], [0.0, 3.1], [gap + 0.2, 3.1], [gap + 0.2, 0.6]])
            if joint.visible:
                canvas.fill(joint.at(block, 0.9 * joint.visible), style.palette.tyre, label)
    _pantograph(canvas, bodies[1], thing, view, style, label)


def _paint_carriage(
    canvas: Canvas,
    body: _Body,
    thing: Thing,
    style: Style,
    label: int,
    colors: tuple[Color, Color],
    ends: tuple[bool, bool],
) -> None:
    long, top = body.length, thing.height
    rear, front = (0.9 if ends[0] else 0.0), (0.9 if ends[1] else 0.0)
    profile = np.array(
        [[0.0, 0.25], [0.0, 0.45 * top], [rear, 0.97 * top], [rear + 0.4, top],
         [long - front - 0.4, top], [long - front, 0.97 * top], [long, 0.45 * top], [long, 0.25]]
    )  # fmt: skip
    _extrude(canvas, body, _rounded(profile, style), colors[0], label, contrast=0.25)
    if body.visible:
        skirt = [[0.1, 0.3], [0.1, 0.32 * top], [long - 0.1, 0.32 * top], [long - 0.1, 0.3]]
        _side_decal(canvas, body, np.array(skirt), colors[1])
        panes = _panes(
            body, low=0.48 * top, high=0.76 * top, start=rear + 0.3, end=long - front - 0.3,
            count=4, gap=0.2,
        )  # fmt: skip
        canvas.fill_many(panes, style.palette.glass)
    low, high = (0.5 * top, 0.9 * top), (-0.85, 0.85)
    if ends[0] and body.sees_rear:
        canvas.fill(body.end_quad((0.08, 0.78), low, high), style.palette.glass)
    if ends[1] and body.sees_front:
        canvas.fill(body.end_quad((long - 0.08, long - 0.78), low, high), style.palette.glass)
    _lights(canvas, body, (0.2 * top, 0.28 * top), inset=0.3)


def _pantograph(
    canvas: Canvas, body: _Body, thing: Thing, view: View, style: Style, label: int
) -> None:
    """Paint the current collector on the middle carriage's roof."""
    top, middle = thing.height, 0.5 * body.length
    arm = np.array([[middle, top], [middle + 0.9, top + 0.6], [middle, top + 1.2]])
    bow = body.end_quad((middle, middle), (top + 1.2, top + 1.2), (-0.6, 0.6))[[0, 2]]
    width = 0.08 * view.focal / max(thing.z, 4.0)
    canvas.line(body.at(arm, 0.0), width, style.palette.tyre, label)
    canvas.line(bow, width, style.palette.tyre, label)
