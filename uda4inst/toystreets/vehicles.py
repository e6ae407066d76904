"""Cars, trucks, buses and trains: side profiles in metres, pulled to their width in perspective."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

import numpy as np

from uda4inst.toystreets.bodies import (
    Body,
    extrude,
    paint_lights,
    paint_on_side,
    paint_tyre_ends,
    paint_wheels,
    signed_areas,
    smoothed,
)
from uda4inst.toystreets.canvas import Canvas, Color, Points, View, shaded
from uda4inst.toystreets.styles import Style
from uda4inst.toystreets.world import BUS, CAR, TRAIN, TRUCK, Rng, Thing

_CAB_LENGTH: Final = 2.0  # metres
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


def paint_vehicle(canvas: Canvas, thing: Thing, view: View, style: Style, label: int) -> None:
    """Paint a car, truck, bus or train; `label` goes to the label plane."""
    rng = random.Random(thing.variant)
    painter = {CAR: _paint_car, TRUCK: _paint_truck, BUS: _paint_bus, TRAIN: _paint_train}
    painter[thing.label](canvas, thing, view, style, label, rng)


def _paint_car(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, rng: Rng
) -> None:
    shape = _CARS[rng.randrange(len(_CARS))]
    body = Body(thing, view, 0.0, thing.length)
    scale = np.array([thing.length, thing.height * shape.height])
    sharp = np.array(shape.profile) * scale
    color = style.object_color(rng, grey=0.35)
    wheels = (shape.wheels[0] * thing.length, shape.wheels[1] * thing.length)
    paint_tyre_ends(canvas, body, style, label, height=0.3, axles=wheels)
    extrude(canvas, body, smoothed(sharp, style), color, label, contrast=0.3)
    if body.sees_rear:
        _paint_screen(canvas, body, style, sharp[shape.rear_glass[0]], sharp[shape.rear_glass[1]])
    if body.sees_front:
        _paint_screen(canvas, body, style, sharp[shape.front_glass[0]], sharp[shape.front_glass[1]])
    for window in shape.windows:
        paint_on_side(canvas, body, np.array(window) * scale, style.palette.glass)
    paint_lights(canvas, body, style, (0.42 * scale[1], 0.55 * scale[1]), inset=0.3)
    if not style.simple and (body.sees_rear or body.sees_front):
        along = 0.0 if body.sees_rear else body.length
        plate = body.end_quad((along, along), (0.27 * scale[1], 0.35 * scale[1]), (-0.28, 0.28))
        canvas.fill(plate, style.palette.marking)
    paint_wheels(canvas, body, style, label, at=wheels, radius=0.33)


def _paint_screen(canvas: Canvas, body: Body, style: Style, low: Points, high: Points) -> None:
    """Paint a windscreen or rear window between two points of the profile, if it faces us."""
    first, last = low + 0.1 * (high - low), high - 0.1 * (high - low)
    quad = body.end_quad((first[0], last[0]), (first[1], last[1]), (-0.82, 0.82))
    if signed_areas(quad) > 0:
        canvas.fill(quad, style.palette.glass)


def _paint_truck(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, rng: Rng
) -> None:
    box_length = thing.length - _CAB_LENGTH - 0.25
    cab = Body(thing, view, box_length + 0.25, _CAB_LENGTH)
    box = Body(thing, view, 0.0, box_length)
    chassis = Body(thing, view, 0.0, thing.length - 0.2)
    cab_color, box_color = style.object_color(rng, grey=0.3), style.object_color(rng, grey=0.6)
    stripe = style.object_color(rng) if rng.random() < 0.5 and not style.simple else None
    paint_tyre_ends(canvas, chassis, style, label, height=0.45, axles=(1.0, thing.length - 1.2))
    frame = np.array([[0.0, 0.5], [0.0, 0.85], [chassis.length, 0.85], [chassis.length, 0.5]])
    extrude(canvas, chassis, frame, style.palette.tyre, label, contrast=0.2)
    if cab.sees_rear:  # the cab is farther away
        _paint_cab(canvas, cab, 0.76 * thing.height, style, cab_color, label)
        _paint_box(canvas, box, thing.height, style, box_color, stripe, label)
        paint_lights(canvas, chassis, style, (0.6, 0.8), inset=0.2)
    else:
        _paint_box(canvas, box, thing.height, style, box_color, stripe, label)
        _paint_cab(canvas, cab, 0.76 * thing.height, style, cab_color, label)
    axles = (1.0, 2.1, thing.length - 1.2)
    paint_wheels(canvas, chassis, style, label, at=axles, radius=0.48)


def _paint_cab(
    canvas: Canvas, cab: Body, top: float, style: Style, color: Color, label: int
) -> None:
    profile = np.array(
        [[0.0, 0.45], [0.0, top], [1.35, top], [1.9, 0.58 * top], [2.0, 0.5 * top], [2.0, 0.4]]
    )
    extrude(canvas, cab, smoothed(profile, style), color, label, contrast=0.25)
    window = np.array([[0.75, 0.6 * top], [0.75, 0.9 * top], [1.3, 0.9 * top], [1.7, 0.6 * top]])
    paint_on_side(canvas, cab, window, style.palette.glass)
    if cab.sees_front:
        pane = cab.end_quad((1.88, 1.4), (0.6 * top, 0.95 * top), (-0.86, 0.86))
        canvas.fill(pane, style.palette.glass)
        paint_lights(canvas, cab, style, (0.6, 0.85), inset=0.25)


def _paint_box(
    canvas: Canvas,
    box: Body,
    top: float,
    style: Style,
    color: Color,
    stripe: Color | None,
    label: int,
) -> None:
    """Paint a truck's box, with a stripe along it or none."""
    long = box.length
    profile = np.array([[0.0, 0.85], [0.0, top], [long, top], [long, 0.85]])
    extrude(canvas, box, smoothed(profile, style), color, label, contrast=0.25)
    if stripe is not None:
        low, high, end = 0.45 * top, 0.6 * top, long - 0.1
        band = np.array([[0.1, low], [0.1, high], [end, high], [end, low]])
        paint_on_side(canvas, box, band, stripe)
    if box.sees_rear:
        door = box.end_quad((0.0, 0.0), (0.95, top - 0.1), (-0.02, 0.02))
        canvas.fill(door, shaded(color, 0.5))


def _panes(
    body: Body, *, low: float, high: float, start: float, end: float, count: int, gap: float
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
    body = Body(thing, view, 0.0, thing.length)
    long, top = thing.length, thing.height
    color = style.object_color(rng, grey=0.15)
    glass = style.palette.glass
    profile = np.array(
        [[0.0, 0.35], [0.0, 0.93 * top], [0.3, top], [long - 0.5, top], [long, 0.88 * top],
         [long, 0.35]]
    )  # fmt: skip
    paint_tyre_ends(canvas, body, style, label, height=0.45, axles=(0.24 * long, 0.8 * long))
    extrude(canvas, body, smoothed(profile, style), color, label, contrast=0.25)
    if body.visible:
        panes = _panes(
            body, low=0.45 * top, high=0.83 * top, start=0.3, end=long - 0.2, count=7, gap=0.08
        )
        canvas.fill_many(panes, glass)
        if not style.simple:
            doors = [[0.62 * long, 0.4], [0.62 * long, 0.8 * top], [0.72 * long, 0.8 * top],
                     [0.72 * long, 0.4]]  # fmt: skip
            paint_on_side(canvas, body, np.array(doors), shaded(glass, 1.15))
    if body.sees_rear:
        canvas.fill(body.end_quad((0.0, 0.0), (0.52 * top, 0.85 * top), (-0.85, 0.85)), glass)
    elif body.sees_front:
        canvas.fill(body.end_quad((long, long), (0.38 * top, 0.82 * top), (-0.92, 0.92)), glass)
        sign = body.end_quad((long, long), (0.86 * top, 0.93 * top), (-0.6, 0.6))
        canvas.fill(sign, (240.0, 190.0, 60.0))
    paint_lights(canvas, body, style, (0.2 * top, 0.27 * top), inset=0.25)
    paint_wheels(canvas, body, style, label, at=(0.24 * long, 0.8 * long), radius=0.48)


def _paint_train(
    canvas: Canvas, thing: Thing, view: View, style: Style, label: int, rng: Rng
) -> None:
    cars, gap = 3, 0.5
    length = (thing.length - (cars - 1) * gap) / cars
    color, stripe = style.object_color(rng, grey=0.1), style.object_color(rng, grey=0.3)
    bodies = [Body(thing, view, index * (length + gap), length) for index in range(cars)]
    depths = [body.origin[1] + 0.5 * length * body.axis[1] for body in bodies]
    for index in sorted(range(cars), key=lambda k: -depths[k]):
        ends = (index == 0, index == cars - 1)
        _paint_carriage(canvas, bodies[index], thing, style, label, (color, stripe), ends)
        if index < cars - 1:
            joint = Body(thing, view, index * (length + gap) + length - 0.1, gap + 0.2)
            block = np.array([[0.0, 0.6], [0.0, 3.1], [gap + 0.2, 3.1], [gap + 0.2, 0.6]])
            if joint.visible:
                canvas.fill(joint.at(block, 0.9 * joint.visible), style.palette.tyre, label)
    _pantograph(canvas, bodies[1], thing, view, style, label)


def _paint_carriage(
    canvas: Canvas,
    body: Body,
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
    extrude(canvas, body, smoothed(profile, style), colors[0], label, contrast=0.25)
    if body.visible:
        skirt = [[0.1, 0.3], [0.1, 0.32 * top], [long - 0.1, 0.32 * top], [long - 0.1, 0.3]]
        paint_on_side(canvas, body, np.array(skirt), colors[1])
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
    paint_lights(canvas, body, style, (0.2 * top, 0.28 * top), inset=0.3)


def _pantograph(
    canvas: Canvas, body: Body, thing: Thing, view: View, style: Style, label: int
) -> None:
    """Paint the current collector on the middle carriage's roof."""
    top, middle = thing.height, 0.5 * body.length
    arm = np.array([[middle, top], [middle + 0.9, top + 0.6], [middle, top + 1.2]])
    bow = body.end_quad((middle, middle), (top + 1.2, top + 1.2), (-0.6, 0.6))[[0, 2]]
    width = 0.08 * view.focal / max(thing.z, 4.0)
    canvas.line(body.at(arm, 0.0), width, style.palette.tyre, label)
    canvas.line(bow, width, style.palette.tyre, label)
