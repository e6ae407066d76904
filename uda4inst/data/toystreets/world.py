"""The world model all ToyStreets domains share: what stands where, before any picture is made.

A layout is drawn from its own random stream, in metres, and does not depend on the image size; it
is cheap, so statistics over thousands of scenes need no rendering.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final, Literal

from uda4inst.classes import thing_index
from uda4inst.data.toystreets.canvas import Rig

ToyDomain = Literal["render", "camera", "neutral"]
PropKind = Literal["lamp", "traffic_light", "sign", "post", "tree", "bush", "bin"]
BlockKind = Literal["building", "wall", "fence", "hedge", "open"]
Rng = random.Random

PERSON: Final = thing_index("person")
RIDER: Final = thing_index("rider")
CAR: Final = thing_index("car")
TRUCK: Final = thing_index("truck")
BUS: Final = thing_index("bus")
TRAIN: Final = thing_index("train")
MOTORCYCLE: Final = thing_index("motorcycle")
BICYCLE: Final = thing_index("bicycle")
TWO_WHEELERS: Final = (MOTORCYCLE, BICYCLE)
VEHICLES: Final = (CAR, TRUCK, BUS, TRAIN)

# Per cent of instances (UrbanSyn's long tail, design.md section 8). A rider comes with every
# two-wheeler, so the 6 % of riders are not drawn on their own.
STREET_SHARES: Final = {
    PERSON: 57.0,
    CAR: 27.0,
    TRUCK: 1.9,
    BUS: 1.6,
    TRAIN: 0.4,
    MOTORCYCLE: 2.7,
    BICYCLE: 3.3,
}
# The pre-training style stands in for COCO, where buses, trucks and trains are not rare.
NEUTRAL_SHARES: Final = {
    PERSON: 27.0,
    CAR: 20.0,
    TRUCK: 9.0,
    BUS: 9.0,
    TRAIN: 7.0,
    MOTORCYCLE: 9.0,
    BICYCLE: 10.0,
}
MAX_UNITS: Final = 11  # a rider and its two-wheeler are one unit
GROUP_SHARE: Final = 0.02  # camera scenes with a distant crowd labelled as a group

# length, width, height in metres: mean; each object varies by a few per cent around it.
DIMENSIONS: Final = {
    PERSON: (0.5, 0.5, 1.72),
    CAR: (4.3, 1.8, 1.48),
    TRUCK: (7.6, 2.4, 3.3),
    BUS: (11.0, 2.5, 3.05),
    TRAIN: (26.0, 2.5, 3.5),
    MOTORCYCLE: (2.1, 0.7, 1.15),
    BICYCLE: (1.75, 0.5, 1.05),
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing instance, or a two-wheeler with its rider (`label` is then the two-wheeler's).

    Args:
        label: thing index 0..7.
        x: lateral position of the centre, metres.
        z: depth of the centre, metres.
        yaw: heading in radians, 0 away from the camera, pi/2 to the right.
        length: metres along the heading.
        width: metres across it.
        height: metres.
        variant: seed of its own looks.
        depth: painting order, far to near.
    """

    label: int
    x: float
    z: float
    yaw: float
    length: float
    width: float
    height: float
    variant: int
    depth: float

    @property
    def half_x(self) -> float:
        """Half of the extent across the street."""
        return 0.5 * (abs(math.sin(self.yaw)) * self.length + abs(math.cos(self.yaw)) * self.width)

    @property
    def half_z(self) -> float:
        """Half of the extent along the street."""
        return 0.5 * (abs(math.cos(self.yaw)) * self.length + abs(math.sin(self.yaw)) * self.width)

    @property
    def instances(self) -> int:
        """Instances it stands for: two for a two-wheeler with its rider."""
        return 2 if self.label in TWO_WHEELERS else 1


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of one side of the street: what stands along it."""

    kind: BlockKind
    near: float
    far: float
    height: float
    variant: int


@dataclass(frozen=True, slots=True)
class Prop:
    """A piece of street furniture or a tree."""

    kind: PropKind
    x: float
    z: float
    height: float
    variant: int


@dataclass(frozen=True, slots=True)
class Street:
    """Ground plan in metres: `left` and `right` are the road's edges, `facade_*` the house lines.

    `crossing` is the depth at which a cross street begins, or None; `rails` the lateral position of
    tram rails along the street, or None; `cross_rails` tells whether rails lie in the cross street.
    """

    left: float
    right: float
    facade_left: float
    facade_right: float
    terrain: tuple[float, float]
    crossing: float | None
    crossing_width: float
    rails: float | None
    cross_rails: bool
    blocks_left: tuple[Block, ...]
    blocks_right: tuple[Block, ...]
    backdrop: Literal["building", "vegetation", "mixed"]
    variant: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole scene before rendering."""

    rig: Rig
    street: Street
    things: tuple[Thing, ...]
    props: tuple[Prop, ...]
    crowd: tuple[Thing, ...] = field(default=())

    @property
    def labels(self) -> tuple[int, ...]:
        """Thing index of every instance, riders included."""
        out: list[int] = []
        for thing in self.things:
            out.append(thing.label)
            if thing.instances == 2:
                out.append(RIDER)
        return tuple(out)


def sample_rig(rng: Rng, kind: ToyDomain) -> Rig:
    """Draw a camera: the render's looks wider and from higher up, the camera's is one fixed rig."""
    if kind == "camera":
        return Rig(focal=1.08, height=1.22 + 0.03 * rng.random(), horizon=rng.uniform(0.43, 0.47))
    if kind == "render":
        return Rig(
            focal=rng.uniform(0.86, 0.94),
            height=rng.uniform(1.55, 1.85),
            horizon=rng.uniform(0.36, 0.42),
        )
    return Rig(
        focal=rng.uniform(0.8, 1.2),
        height=rng.uniform(1.2, 2.0),
        horizon=rng.uniform(0.34, 0.48),
    )


def sample_layout(
    rng: Rng, *, domain: ToyDomain, rig: Rig, street_rng: Rng, crowd_rng: Rng | None = None
) -> Layout:
    """Draw one scene.

    Args:
        rng: stream of the things.
        domain: decides class shares and counts; `render` and `camera` share both.
        rig: the camera, which decides what part of the street is in view.
        street_rng: stream of the street.
        crowd_rng: stream of the distant crowd (rare, see `GROUP_SHARE`); None for none.
    """
    labels = _sample_labels(rng, domain)
    street = _sample_street(street_rng, labels)
    things = _place_all(rng, labels, street, rig)
    crowd: tuple[Thing, ...] = ()
    if crowd_rng is not None and crowd_rng.random() < GROUP_SHARE:
        crowd = _sample_crowd(crowd_rng, rig)
    props = _sample_props(street_rng, street)
    return Layout(rig=rig, street=street, things=things, props=props, crowd=crowd)


def _sample_labels(rng: Rng, domain: ToyDomain) -> list[int]:
    """Draw the units of a scene, largest kind first (large things are placed first)."""
    if domain == "neutral":
        shares, count = NEUTRAL_SHARES, rng.randrange(2, 7)
    else:
        shares, count = STREET_SHARES, min(MAX_UNITS, 2 + _poisson(rng, 4.0))
    kinds, weights = list(shares), list(shares.values())
    drawn = [kinds[_pick(rng, weights)] for _ in range(count)]
    order = (TRAIN, BUS, TRUCK, CAR, MOTORCYCLE, BICYCLE, PERSON)
    return sorted(drawn, key=order.index)


def _poisson(rng: Rng, mean: float) -> int:
    """Draw a Poisson number (Knuth's product of uniforms)."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _pick(rng: Rng, weights: Sequence[float]) -> int:
    """Draw a position with probability proportional to its weight."""
    sums = tuple(accumulate(weights))
    return min(bisect_right(sums, rng.random() * sums[-1]), len(sums) - 1)


def _sample_street(rng: Rng, labels: list[int]) -> Street:
    """Draw the ground plan; a train brings its rails and often a cross street with it."""
    left, right = -rng.uniform(3.0, 8.5), rng.uniform(2.8, 5.5)
    walk_left, walk_right = rng.uniform(2.2, 5.0), rng.uniform(2.2, 4.5)
    strips = [rng.uniform(1.0, 4.0) if rng.random() < 0.4 else 0.0 for _ in range(2)]
    crossing = rng.uniform(11.0, 24.0) if rng.random() < 0.5 else None
    rails, cross_rails = None, False
    if TRAIN in labels:
        cross_rails = crossing is not None and rng.random() < 0.6
        if not cross_rails:
            rails = float(-rng.uniform(3.4, 5.0) if rng.random() < 0.7 else rng.uniform(3.4, 5.0))
            left, right = min(left, rails - 1.8), max(right, rails + 1.8)
    elif rng.random() < 0.1:
        rails = rng.uniform(left + 1.8, 0.0)
    width = rng.uniform(7.0, 10.0)
    facade_left = left - walk_left - strips[0]
    facade_right = right + walk_right + strips[1]
    return Street(
        left=left,
        right=right,
        facade_left=facade_left,
        facade_right=facade_right,
        terrain=(strips[0], strips[1]),
        crossing=crossing,
        crossing_width=width,
        rails=rails,
        cross_rails=cross_rails,
        blocks_left=_sample_blocks(rng, crossing, width),
        blocks_right=_sample_blocks(rng, crossing, width),
        backdrop=("building", "vegetation", "mixed")[rng.randrange(3)],
        variant=rng.getrandbits(31),
    )


def _sample_blocks(rng: Rng, crossing: float | None, width: float) -> tuple[Block, ...]:
    """Fill one side of the street from near to far, leaving the cross street free."""
    kinds = ("building", "wall", "fence", "hedge", "open")
    heights = {
        "building": (6.0, 17.0),
        "wall": (1.3, 2.8),
        "fence": (1.1, 1.9),
        "hedge": (1.0, 2.4),
        "open": (0.0, 0.1),
    }
    blocks: list[Block] = []
    near = 2.5
    while near < 75.0:
        far = near + rng.uniform(7.0, 20.0)
        if crossing is not None and near < crossing < far:
            far = crossing - 1.0
        kind = kinds[_pick(rng, (0.62, 0.1, 0.1, 0.1, 0.08))]
        if far - near > 1.0:
            height = rng.uniform(*heights[kind])
            blocks.append(Block(kind, near, far, height, rng.getrandbits(31)))  # type: ignore[arg-type]
        near = far
        if crossing is not None and abs(near - (crossing - 1.0)) < 0.01:
            near = crossing + width + 1.0
    return tuple(blocks)


def _visible_half(rig: Rig, z: float) -> float:
    """Half the width of street in view at a depth."""
    return 0.5 * z / rig.focal


def _place_all(rng: Rng, labels: list[int], street: Street, rig: Rig) -> tuple[Thing, ...]:
    """Place the things one after the other, avoiding collisions and total occlusion."""
    placed: list[Thing] = []
    for label in labels:
        best: Thing | None = None
        for _ in range(14):
            best = _candidate(rng, label, street, rig, placed)
            if _fits(best, placed, rig):
                break
        assert best is not None
        placed.append(best)
    ordered = [replace(thing, depth=_paint_depth(thing, placed)) for thing in placed]
    return tuple(sorted(ordered, key=lambda thing: -thing.depth))


def _candidate(rng: Rng, label: int, street: Street, rig: Rig, placed: list[Thing]) -> Thing:
    length, width, height = DIMENSIONS[label]
    scale = min(1.15, max(0.85, rng.gauss(1.0, 0.05)))
    if label == PERSON and rng.random() < 0.08:
        scale *= 0.7  # a child
    x, z, yaw = _position(rng, label, street, rig, placed)
    return Thing(
        label=label,
        x=x,
        z=z,
        yaw=yaw,
        length=length * scale,
        width=width * scale,
        height=height * scale,
        variant=rng.getrandbits(31),
        depth=z,
    )


def _position(
    rng: Rng, label: int, street: Street, rig: Rig, placed: list[Thing]
) -> tuple[float, float, float]:
    if label == PERSON:
        return _person_position(rng, street, rig, placed)
    if label in TWO_WHEELERS:
        z = _depth(rng, 7.0, 24.0, rig)
        half = _visible_half(rig, z)
        x = rng.uniform(max(street.left, -half), min(street.right, half))
        turn = rng.uniform(0.25, 1.3) * (1 if rng.random() < 0.5 else -1)
        yaw = turn if rng.random() < 0.5 else math.pi - turn
        return x, z, float(yaw)
    if label == TRAIN:
        return _train_position(rng, street, rig)
    return _motor_position(rng, label, street, rig)


def _depth(rng: Rng, near: float, far: float, rig: Rig) -> float:
    """Draw a depth, denser nearby; longer lenses see farther for the same pixel size."""
    stretch = rig.focal / 0.95
    return math.exp(rng.uniform(math.log(near * stretch), math.log(far * stretch)))


def _person_position(
    rng: Rng, street: Street, rig: Rig, placed: list[Thing]
) -> tuple[float, float, float]:
    yaw = rng.uniform(0, 2 * math.pi)
    others = [thing for thing in placed if thing.label == PERSON]
    if others and rng.random() < 0.35:  # people walk together
        other = others[rng.randrange(len(others))]
        x = other.x + rng.uniform(0.35, 0.9) * (1 if rng.random() < 0.5 else -1)
        return x, other.z + rng.uniform(-0.6, 0.6), other.yaw
    z = _depth(rng, 6.5, 31.0, rig) if rng.random() < 0.94 else _depth(rng, 31.0, 40.0, rig)
    half = 1.02 * _visible_half(rig, z)
    bands = [
        (max(-half, street.facade_left + 0.5), min(half, street.left)),
        (max(-half, street.right), min(half, street.facade_right - 0.5)),
    ]
    bands = [band for band in bands if band[1] - band[0] > 0.3]
    if not bands or rng.random() < 0.25:  # on the road
        bands = [(max(-half, street.left), min(half, street.right))]
    low, high = bands[rng.randrange(len(bands))]
    return rng.uniform(low, high), z, yaw


def _motor_position(rng: Rng, label: int, street: Street, rig: Rig) -> tuple[float, float, float]:
    """Place a car, truck or bus: in a lane, at the kerb, or crossing."""
    length, width, _ = DIMENSIONS[label]
    mode = rng.random()
    if street.crossing is not None and mode < 0.45:
        z = street.crossing + rng.uniform(0.25, 0.8) * street.crossing_width
        half = _visible_half(rig, z) + 0.2 * length
        side = 1.0 if rng.random() < 0.5 else -1.0
        return rng.uniform(-half, half), z, float(side * math.pi / 2 + rng.gauss(0, 0.06))
    near = 7.0 + 0.5 * length if label == CAR else 9.0 + 0.5 * length
    z = _depth(rng, near, 27.0 if label == CAR else 34.0, rig)
    half = _visible_half(rig, z)
    margin = 0.5 * width + 0.3
    oncoming = rng.random() < 0.5
    if mode > 0.75:  # turning or crossing anywhere on the road
        x = rng.uniform(max(street.left, -half), min(street.right, half))
        return x, z, rng.uniform(0.5, 2.6) * (1 if rng.random() < 0.5 else -1)
    if rng.random() < 0.5:  # parked at the kerb, or as far out as can be seen
        x = street.left + margin if oncoming else street.right - margin
        x = min(half, max(-half, x))
    else:
        low, high = (street.left + margin, -0.8) if oncoming else (-0.6, street.right - margin)
        x = rng.uniform(min(low, high), max(low, high))
    return x, z, float((math.pi if oncoming else 0.0) + rng.gauss(0, 0.06))


def _train_position(rng: Rng, street: Street, rig: Rig) -> tuple[float, float, float]:
    length = DIMENSIONS[TRAIN][0]
    if street.rails is None:
        assert street.crossing is not None
        z = street.crossing + 0.5 * street.crossing_width
        x = rng.uniform(-0.4, 0.4) * length
        return x, z, float(math.pi / 2 if rng.random() < 0.5 else -math.pi / 2)
    z = rng.uniform(9.0, 16.0) * rig.focal + 0.5 * length
    return street.rails, z, float(math.pi if rng.random() < 0.6 else 0.0)


def _box(thing: Thing, rig: Rig) -> tuple[float, float, float, float]:
    """Rough picture box in image widths, x to the right and y down, from the principal point."""
    near = max(1.0, thing.z - thing.half_z)
    scale = rig.focal / near
    half = max(thing.half_x, 0.2)
    center = thing.x * rig.focal / thing.z
    return (
        center - half * scale,
        (rig.height - thing.height) * scale,
        center + half * scale,
        rig.height * scale,
    )


def _fits(thing: Thing, placed: list[Thing], rig: Rig) -> bool:
    """Tell whether a thing collides with none and hides, or is hidden by, none completely."""
    box = _box(thing, rig)
    shown = (min(box[2], 0.5) - max(box[0], -0.5)) / (box[2] - box[0])
    if shown < 0.35:
        return False
    for other in placed:
        gap_x = abs(thing.x - other.x) - thing.half_x - other.half_x
        gap_z = abs(thing.z - other.z) - thing.half_z - other.half_z
        if gap_x < 0.1 and gap_z < 0.1:
            return False
        front, back = (thing, other) if thing.z < other.z else (other, thing)
        if _covered(_box(back, rig), _box(front, rig)) > 0.7:
            return False
    return True


def _covered(box: tuple[float, ...], by: tuple[float, ...]) -> float:
    """Share of a box covered by another."""
    width = min(box[2], by[2]) - max(box[0], by[0])
    height = min(box[3], by[3]) - max(box[1], by[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((box[2] - box[0]) * (box[3] - box[1]))


def _paint_depth(thing: Thing, placed: list[Thing]) -> float:
    """Depth to paint at: what stands beside a long vehicle, away from the camera, is behind it."""
    depth = thing.z
    for other in placed:
        if other is thing or other.label not in VEHICLES or other.half_z < 1.5:
            continue
        beside = abs(thing.z - other.z) < other.half_z + 0.3
        if beside and abs(thing.x) > abs(other.x) and thing.x * other.x > 0:
            depth = max(depth, other.z + 0.01)
        elif beside:
            depth = min(depth, other.z - 0.01)
    return depth


def _sample_crowd(rng: Rng, rig: Rig) -> tuple[Thing, ...]:
    """Draw a distant crowd that is labelled as one group."""
    z0 = rng.uniform(30.0, 40.0)
    half = _visible_half(rig, z0)
    x0 = rng.uniform(-0.7, 0.7) * half
    length, width, height = DIMENSIONS[PERSON]
    crowd = [
        Thing(
            label=PERSON,
            x=x0 + rng.gauss(0, 1.1),
            z=z0 + rng.gauss(0, 1.0),
            yaw=rng.uniform(0, 2 * math.pi),
            length=length,
            width=width,
            height=height * rng.uniform(0.9, 1.06),
            variant=rng.getrandbits(31),
            depth=0.0,
        )
        for _ in range(rng.randrange(9, 15))
    ]
    crowd = [replace(thing, depth=thing.z) for thing in crowd]
    return tuple(sorted(crowd, key=lambda thing: -thing.depth))


def _sample_props(rng: Rng, street: Street) -> tuple[Prop, ...]:
    """Draw street furniture and trees along both kerbs."""
    props: list[Prop] = []
    for side in (-1, 1):
        edge = street.left if side < 0 else street.right
        facade = street.facade_left if side < 0 else street.facade_right
        for _ in range(rng.randrange(1, 4)):
            kind = ("lamp", "traffic_light", "sign", "tree", "bin", "bush")[
                _pick(rng, (0.24, 0.15, 0.22, 0.27, 0.06, 0.06))
            ]
            z = math.exp(rng.uniform(math.log(9.0), math.log(45.0)))
            x = edge + side * rng.uniform(0.4, 0.9)
            if kind in ("tree", "bush") and rng.random() < 0.5:
                x = facade - side * rng.uniform(0.3, 0.8)
            height = {
                "lamp": rng.uniform(5.0, 8.0),
                "traffic_light": rng.uniform(2.7, 3.6),
                "sign": rng.uniform(2.3, 3.2),
                "tree": rng.uniform(4.5, 9.0),
                "bush": rng.uniform(0.7, 1.4),
                "bin": rng.uniform(0.8, 1.2),
            }[kind]
            props.append(Prop(kind, x, z, float(height), rng.getrandbits(31)))  # type: ignore[arg-type]
    return tuple(props)
