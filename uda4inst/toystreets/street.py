"""The street itself: ground, houses, walls, fences, trees and street furniture."""

from __future__ import annotations

import random
from typing import Final

import numpy as np

from uda4inst.toystreets.canvas import (
    Canvas,
    Color,
    Points,
    View,
    circle,
    mixed,
    shaded,
)
from uda4inst.toystreets.styles import CLUTTER, Style
from uda4inst.toystreets.world import Block, Rng, Street

ROAD: Final = 0
SIDEWALK: Final = 1
BUILDING: Final = 2
WALL: Final = 3
FENCE: Final = 4
POLE: Final = 5
TRAFFIC_LIGHT: Final = 6
TRAFFIC_SIGN: Final = 7
VEGETATION: Final = 8
TERRAIN: Final = 9
SKY: Final = 10
VOID: Final = 255

_NEAR: Final = 1.0  # metres: where the ground leaves the picture at the bottom
_FAR: Final = 220.0
_SIDES: Final = (-170.0, 170.0)  # metres: wider than any camera sees at _FAR


def _ground(view: View, x: tuple[float, float], z: tuple[float, float]) -> Points:
    """Project a rectangle on the ground: (4, 2)."""
    return np.array(
        [
            view.pixel(x[0], 0.0, z[0]),
            view.pixel(x[0], 0.0, z[1]),
            view.pixel(x[1], 0.0, z[1]),
            view.pixel(x[1], 0.0, z[0]),
        ]
    )


def paint_ground(canvas: Canvas, street: Street, view: View, style: Style) -> None:
    """Paint everything that lies flat: terrain, sidewalks, road, cross street, lines, rails."""
    colors = style.palette
    rng = random.Random(street.variant)
    everywhere = _ground(view, _SIDES, (_NEAR, _FAR))
    canvas.fill(everywhere, colors.terrain, TERRAIN)
    left = street.facade_left + street.terrain[0] - 0.6
    right = street.facade_right - street.terrain[1] + 0.6
    canvas.fill(_ground(view, (left, right), (_NEAR, _FAR)), colors.sidewalk, SIDEWALK)
    kerb = mixed(colors.sidewalk, (255.0, 255.0, 255.0), 0.25)
    crossing = street.crossing
    if crossing is not None:
        depth = (crossing - 3.0, crossing + street.crossing_width + 3.0)
        canvas.fill(_ground(view, _SIDES, depth), colors.sidewalk, SIDEWALK)
    edges = (street.left - 0.2, street.right + 0.2)
    canvas.fill(_ground(view, edges, (_NEAR, _FAR)), kerb, SIDEWALK)
    canvas.fill(_ground(view, (street.left, street.right), (_NEAR, _FAR)), colors.road, ROAD)
    if crossing is not None:
        depth = (crossing, crossing + street.crossing_width)
        canvas.fill(_ground(view, _SIDES, depth), colors.road, ROAD)
    if not style.simple:
        _paint_lines(canvas, street, view, style, rng)
    _paint_rails(canvas, street, view, style)


def _paint_lines(canvas: Canvas, street: Street, view: View, style: Style, rng: Rng) -> None:
    """Paint the dashed middle line and sometimes a zebra crossing."""
    color = style.palette.marking
    crossing = street.crossing
    blocked = (crossing - 4.0, crossing + street.crossing_width + 4.0) if crossing else (0.0, 0.0)
    start = rng.uniform(2.0, 5.0)
    middle = 0.5 * (street.left + street.right)
    dashes = [
        _ground(view, (middle - 0.08, middle + 0.08), (near, near + 2.5))
        for near in np.arange(start, 60.0, 6.0).tolist()
        if not blocked[0] < near < blocked[1]
    ]
    canvas.fill_many(np.array(dashes), color)
    if crossing is not None and rng.random() < 0.6:
        stripes = np.arange(street.left + 0.3, street.right - 0.3, 1.0).tolist()
        zebra = [_ground(view, (x, x + 0.5), (crossing - 3.5, crossing - 1.0)) for x in stripes]
        canvas.fill_many(np.array(zebra), color)


def _paint_rails(canvas: Canvas, street: Street, view: View, style: Style) -> None:
    color = shaded(style.palette.metal, 0.7)
    if street.rails is not None:
        for offset in (-0.72, 0.72):
            x = street.rails + offset
            canvas.fill(_ground(view, (x - 0.07, x + 0.07), (_NEAR, 120.0)), color)
    if street.cross_rails and street.crossing is not None:
        middle = street.crossing + 0.5 * street.crossing_width
        for z in (middle - 1.4, middle + 0.2):
            canvas.fill(_ground(view, (-90.0, 90.0), (z - 0.08, z + 0.08)), color)


def paint_backdrop(canvas: Canvas, street: Street, view: View, style: Style) -> None:
    """Close the street in the distance with houses or trees."""
    rng = random.Random(street.variant + 1)
    colors = style.palette
    z = 110.0
    half = 0.55 * z / view.rig.focal
    x = -half
    while x < half:
        wide = rng.uniform(9.0, 26.0)
        green = street.backdrop == "vegetation" or (
            street.backdrop == "mixed" and rng.random() < 0.5
        )
        if green:
            paint_crown(
                canvas, view, (x + 0.5 * wide, rng.uniform(3.0, 6.0), z), 0.6 * wide, style, rng
            )
        else:
            color = shaded(colors.building[rng.randrange(4)], 0.85)
            _box_front(canvas, view, (x, x + wide), z, rng.uniform(8.0, 20.0), color)
        x += wide


def _box_front(
    canvas: Canvas, view: View, x: tuple[float, float], z: float, top: float, color: Color
) -> None:
    canvas.fill(_facing(view, x, z, top), color, BUILDING)


def paint_block(
    canvas: Canvas, block: Block, street: Street, side: int, view: View, style: Style
) -> None:
    """Paint one stretch of the left (-1) or right (1) side of the street."""
    x = street.facade_left if side < 0 else street.facade_right
    if block.kind == "building":
        _paint_building(canvas, block, x, side, view, style)
    elif block.kind == "wall":
        color = style.palette.wall
        face = _face(view, x, (block.near, block.far), (0.0, block.height))
        canvas.fill(face, shaded(color, 0.9), WALL)
        _end(canvas, view, x, side, 0.35, block, shaded(color, 0.75), WALL)
    elif block.kind == "hedge":
        color = style.palette.vegetation
        canvas.fill(_face(view, x, (block.near, block.far), (0.0, block.height)), color, VEGETATION)
        _end(canvas, view, x, side, 1.0, block, shaded(color, 0.85), VEGETATION)
    elif block.kind == "fence":
        _paint_fence(canvas, block, x, view, style)


def _face(view: View, x: float, z: tuple[float, float], y: tuple[float, float]) -> Points:
    """Project an upright rectangle along the street: (4, 2)."""
    return np.array(
        [
            view.pixel(x, y[0], z[0]),
            view.pixel(x, y[1], z[0]),
            view.pixel(x, y[1], z[1]),
            view.pixel(x, y[0], z[1]),
        ]
    )


def _facing(view: View, x: tuple[float, float], z: float, top: float) -> Points:
    """Project an upright rectangle across the street: (4, 2)."""
    return np.array(
        [
            view.pixel(x[0], 0.0, z),
            view.pixel(x[0], top, z),
            view.pixel(x[1], top, z),
            view.pixel(x[1], 0.0, z),
        ]
    )


def _end(
    canvas: Canvas,
    view: View,
    x: float,
    side: int,
    deep: float,
    block: Block,
    color: Color,
    label: int,
) -> None:
    """Paint the end of a block that faces the camera."""
    canvas.fill(_facing(view, (x, x + side * deep), block.near, block.height), color, label)


def _paint_building(
    canvas: Canvas, block: Block, x: float, side: int, view: View, style: Style
) -> None:
    rng = random.Random(block.variant)
    color = style.palette.building[rng.randrange(4)]
    lit = 1.0 if side > 0 else 0.86
    face = _face(view, x, (block.near, block.far), (0.0, block.height))
    canvas.fill(face, shaded(color, lit), BUILDING)
    _end(canvas, view, x, side, 12.0, block, shaded(color, 0.72), BUILDING)
    if style.simple or block.near > 60.0:
        return
    glass = mixed(style.palette.glass, color, rng.uniform(0.0, 0.35))
    storeys = int((block.height - 1.0) // 3.0)
    columns = int((block.far - block.near) // 2.6)
    if storeys >= 1 and columns >= 1:
        canvas.fill_many(_window_grid(view, x, block, storeys, columns), glass)
    canvas.fill(_face(view, x, (block.near, block.far), (0.0, 0.6)), shaded(color, 0.6))


def _window_grid(view: View, x: float, block: Block, storeys: int, columns: int) -> Points:
    """Project all windows of a facade: (storeys * columns, 4, 2)."""
    pitch = (block.far - block.near) / columns
    z = block.near + pitch * (np.arange(columns) + 0.28)
    y = 1.0 + 3.0 * np.arange(storeys)
    corners = np.empty((2, storeys, columns, 4))
    corners[0, :, :, :2] = z[:, None]
    corners[0, :, :, 2:] = z[:, None] + 0.44 * pitch
    corners[1, ..., 0] = corners[1, ..., 3] = y[:, None]
    corners[1, ..., 1] = corners[1, ..., 2] = y[:, None] + 1.5
    return view.project_parts(x, corners[1], corners[0]).reshape(-1, 4, 2)


def _paint_fence(canvas: Canvas, block: Block, x: float, view: View, style: Style) -> None:
    """Paint a fence: two rails and posts, a panel between them."""
    color = style.palette.fence
    panel = _face(view, x, (block.near, block.far), (0.12, block.height))
    canvas.fill(panel, mixed(color, style.palette.terrain, 0.35), FENCE)
    for low in (0.15, block.height - 0.12):
        rail = _face(view, x, (block.near, block.far), (low, low + 0.12))
        canvas.fill(rail, shaded(color, 0.7), FENCE)
    posts = np.arange(block.near, block.far, 1.2, dtype=np.float64)
    corners = posts[:, None] + np.array((0.0, 0.0, 0.14, 0.14))
    heights = np.array((0.0, block.height, block.height, 0.0))
    canvas.fill_many(view.project_parts(x, heights, corners), shaded(color, 0.7), FENCE)


def paint_crown(
    canvas: Canvas,
    view: View,
    center: tuple[float, float, float],
    radius: float,
    style: Style,
    rng: Rng,
) -> None:
    """Paint the crown of a tree as a few overlapping blobs."""
    color = style.palette.vegetation
    pixel = view.pixel(*center)
    scale = view.focal / center[2]
    count = 10 if not style.rounding else 16
    # the camera's crowns are more ragged: more and smaller blobs of more unequal light
    blobs, small, uneven = (7, 0.35, 0.3) if CLUTTER in style.parts else (5, 0.5, 0.175)
    middles: list[tuple[float, float]] = []
    sizes: list[float] = []
    colors: list[Color] = []
    for _ in range(blobs):
        across, up = (rng.uniform(-0.5, 0.5) * radius * scale for _ in range(2))
        middles.append((pixel[0] + across, pixel[1] + up))
        sizes.append(rng.uniform(small, 0.8) * radius * scale)
        colors.append(shaded(color, rng.uniform(0.975 - uneven, 0.975 + uneven)))
    outline = circle(count) * (1.0, 0.85)
    outlines = np.array(sizes)[:, None, None] * outline + np.array(middles)[:, None]
    canvas.fill_each(outlines, colors, VEGETATION)
