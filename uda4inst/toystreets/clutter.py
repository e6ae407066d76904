"""What makes a camera's street busy: more furniture, wires, branches, lines, shadows, the hood."""

from __future__ import annotations

import math
import random
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.toystreets import styles
from uda4inst.toystreets.canvas import (
    EGO,
    SHIFT,
    Canvas,
    Color,
    Points,
    View,
    circle,
    fixed_point,
    mixed,
    shaded,
)
from uda4inst.toystreets.effects import blurred
from uda4inst.toystreets.street import VEGETATION
from uda4inst.toystreets.styles import Style
from uda4inst.toystreets.world import PERSON, Block, Layout, Prop, PropKind, Rng, Street, Thing

HOOD_ROWS: Final = 0.085  # share of the rows the hood takes in the middle of the picture
# Edge, reflection and paint of the hood: share of the rows below its edge, colour.
_HOOD_BANDS: Final[tuple[tuple[float, Color], ...]] = (
    (0.0, (26.0, 28.0, 31.0)),
    (0.012, (58.0, 62.0, 66.0)),
    (0.03, (38.0, 41.0, 45.0)),
)
_HOOD_DROP: Final = 0.045  # share of the rows by which it is lower at the sides


def sample_extra_props(rng: Rng, street: Street) -> tuple[Prop, ...]:
    """Draw more street furniture, mostly thin and mostly near."""
    props: list[Prop] = []
    for _ in range(1 + round(rng.expovariate(1.0 / styles.CLUTTER_COUNT))):
        if len(props) >= 4 * styles.CLUTTER_COUNT:
            break
        side = -1 if rng.random() < 0.5 else 1
        edge, facade = (
            (street.left, street.facade_left) if side < 0 else (street.right, street.facade_right)
        )
        kind, low, high = _EXTRA[rng.randrange(len(_EXTRA))]
        z = math.exp(rng.uniform(math.log(7.0), math.log(40.0)))
        x = edge + (facade - edge) * rng.uniform(0.05, 0.95)
        props.append(Prop(kind, x, z, rng.uniform(low, high), rng.getrandbits(31)))
    return tuple(props)


_EXTRA: Final[tuple[tuple[PropKind, float, float], ...]] = (
    ("lamp", 4.0, 9.0),
    ("post", 0.8, 1.2),
    ("post", 0.8, 1.2),
    ("post", 2.0, 6.0),
    ("sign", 2.0, 3.2),
    ("bin", 0.7, 1.3),
    ("bush", 0.5, 1.6),
    ("tree", 3.5, 7.0),
)


def paint_ground_lines(canvas: Canvas, street: Street, view: View, style: Style, rng: Rng) -> None:
    """Paint cracks, tar lines, arrows and manhole covers on the road; appearance alone."""
    road = style.palette.road
    for _ in range(rng.randrange(2, 6)):
        x, z = rng.uniform(street.left, street.right), math.exp(rng.uniform(1.2, 3.6))
        color = shaded(road, rng.choice((0.55, 0.7, 0.8, 1.25, 1.5)))
        points = [view.ground(x, z)]
        for _ in range(rng.randrange(1, 4)):
            x, z = x + rng.uniform(-2.5, 2.5), max(2.5, z + rng.uniform(-3.0, 5.0))
            points.append(view.ground(x, z))
        canvas.line(np.array(points), 0.03 * view.focal / z, color)
    for _ in range(rng.randrange(0, 4)):
        x, z = rng.uniform(street.left, street.right), math.exp(rng.uniform(1.5, 3.2))
        rim = view.project_parts(x + 0.35 * circle(14)[:, 0], 0.0, z + 0.35 * circle(14)[:, 1])
        canvas.fill(rim, shaded(road, rng.uniform(0.5, 0.8)))


def paint_facade(canvas: Canvas, block: Block, x: float, view: View, style: Style) -> None:
    """Paint shop signs, awnings and ledges on a house front; appearance alone."""
    if block.kind != "building" or block.near > 45.0:
        return
    rng = random.Random(block.variant + 1)
    for _ in range(rng.randrange(2, 6)):
        near = rng.uniform(block.near, block.far)
        far = min(block.far, near + rng.uniform(0.5, 5.0))
        low = rng.choice((0.4, 2.4, 2.8, 5.4, 8.0))
        high = min(block.height, low + rng.uniform(0.25, 1.0))
        if high <= low:
            continue
        color = mixed(style.object_color(rng, grey=0.5), style.palette.building[0], 0.35)
        corners = np.array((near, near, far, far))
        canvas.fill(view.project_parts(x, np.array((low, high, high, low)), corners), color)


def paint_wires(canvas: Canvas, view: View, style: Style, rng: Rng) -> None:
    """Paint overhead wires: thin dark lines that sag; they belong to what is behind them."""
    height, width = canvas.size
    for _ in range(rng.randrange(0, 5)):
        left, right = (rng.uniform(-0.1, 0.75 * view.rig.horizon) * height for _ in range(2))
        sag = rng.uniform(0.0, 0.06) * height
        share = np.linspace(0.0, 1.0, 7, dtype=np.float64)
        y = left + (right - left) * share + 4 * sag * share * (1 - share)
        points = np.stack([share * width, y], axis=1)
        canvas.line(points, 0.6 * view.unit, style.palette.tyre)


def paint_branches(canvas: Canvas, view: View, style: Style, rng: Rng) -> None:
    """Paint twigs of a near tree hanging into an upper corner; not in every scene."""
    if rng.random() > 0.35:
        return
    height, width = canvas.size
    side = rng.choice((-1.0, 1.0))
    color = style.palette.vegetation
    for _ in range(rng.randrange(2, 5)):
        start = np.array([(0.5 + side * rng.uniform(0.3, 0.55)) * width, -0.02 * height])
        reach = np.array(
            [-side * rng.uniform(-0.03, 0.16) * width, rng.uniform(0.1, 0.28) * height]
        )
        share = np.linspace(0.0, 1.0, 7)[:, None]
        twig = np.asarray(start + reach * share, dtype=np.float64)
        canvas.line(twig, 1.2 * view.unit, shaded(color, 0.5), VEGETATION)
        for x, y in twig[1:].tolist():
            radius = rng.uniform(2.0, 4.5) * view.unit
            center = (
                x + rng.uniform(-1.5, 1.5) * view.unit,
                y + rng.uniform(-1.5, 1.5) * view.unit,
            )
            leaf = circle(7) * (radius, 0.75 * radius) + center
            canvas.fill(leaf, shaded(color, rng.uniform(0.6, 1.25)), VEGETATION)


def paint_shadows(canvas: Canvas, layout: Layout, view: View, style: Style, rng: Rng) -> None:
    """Darken the ground under things and in the shade of houses and trees."""
    shadow = np.zeros(canvas.size, dtype=np.uint8)
    if styles.LIGHTING in style.parts:
        _fill(shadow, _cast_shadows(layout, view, rng), round(255 * styles.CAST_SHADOW_STRENGTH))
    if styles.CONTACT_SHADOWS in style.parts:
        under = [_footprint(thing, view) for thing in layout.things]
        for prop in layout.props:
            under.append(_disc(prop.x, prop.z, 0.45 if prop.kind == "tree" else 0.25, view))
        _fill(shadow, under, round(255 * styles.CONTACT_SHADOW_STRENGTH))
    canvas.darken(blurred(shadow, 1.2 * view.unit))


def _fill(plane: NDArray[np.uint8], polygons: list[Points], value: int) -> None:
    for polygon in polygons:
        cv2.fillPoly(plane, [fixed_point(polygon)], value, cv2.LINE_AA, SHIFT)


def _footprint(thing: Thing, view: View) -> Points:
    """Project the ground a thing stands on, a little enlarged."""
    if thing.label == PERSON:
        return _disc(thing.x, thing.z, 0.42, view)
    sin, cos = math.sin(thing.yaw), math.cos(thing.yaw)
    along = 0.53 * thing.length * np.array((1.0, 1.0, -1.0, -1.0))
    across = 0.58 * thing.width * np.array((1.0, -1.0, -1.0, 1.0))
    return view.project_parts(
        thing.x + along * sin + across * cos, 0.0, thing.z + along * cos - across * sin
    )


def _disc(x: float, z: float, radius: float, view: View) -> Points:
    return view.project_parts(x + radius * circle(10)[:, 0], 0.0, z + radius * circle(10)[:, 1])


def _cast_shadows(layout: Layout, view: View, rng: Rng) -> list[Points]:
    """Project the shade of the houses of one side and of the trees."""
    street = layout.street
    side = rng.choice((-1, 1))
    reach = rng.uniform(-0.5, 6.0)
    edge, blocks = (
        (street.facade_left, street.blocks_left)
        if side < 0
        else (street.facade_right, street.blocks_right)
    )
    shade: list[Points] = []
    for block in blocks:
        if block.kind != "building":
            continue
        far = edge - side * (reach + 0.15 * block.height)
        x = np.array((edge, edge, far, far))
        z = np.array((block.near, block.far, block.far, block.near))
        shade.append(view.project_parts(x, 0.0, z))
    for prop in layout.props:
        if prop.kind == "tree":
            x = prop.x - side * rng.uniform(0.5, 3.0)
            shade.append(_disc(x, prop.z, rng.uniform(0.8, 2.2), view))
    return shade


@lru_cache(maxsize=8)
def ego_mask(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where the recording car's hood is: the same for every picture of one size."""
    plane = np.zeros(size, dtype=np.uint8)
    _fill(plane, [_hood(size, 0.0)], 255)
    mask = plane >= 128
    mask.setflags(write=False)
    return mask


@lru_cache(maxsize=32)
def _hood(size: tuple[int, int], lower: float) -> Points:
    """Return the outline of the hood, `lower` (share of the rows) below its edge."""
    height, width = size
    x = np.linspace(-1.0, 1.0, 33)
    rows = 1.0 - HOOD_ROWS + lower + _HOOD_DROP * np.abs(x) ** 2.5
    top = np.stack([(x + 1.0) * 0.5 * width, rows * height], axis=1)
    return np.concatenate([top, [[1.1 * width, 1.2 * height], [-0.1 * width, 1.2 * height]]])


def paint_hood(canvas: Canvas) -> None:
    """Paint the hood over everything; its paint reflects the sky a little."""
    for lower, color in _HOOD_BANDS:
        canvas.fill(_hood(canvas.size, lower), color)
    canvas.labels[ego_mask(canvas.size)] = EGO
