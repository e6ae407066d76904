"""Draws a scene: which things are there, what street they are in, through what camera.

A layout is drawn from random streams of its own, in metres, and does not depend on the image size;
it is cheap, so statistics over thousands of scenes need no rendering.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from uda4inst.toystreets.canvas import Rig
from uda4inst.toystreets.placement import place_all, sample_crowd
from uda4inst.toystreets.world import (
    BICYCLE,
    BUS,
    CAR,
    MOTORCYCLE,
    PERSON,
    TRAIN,
    TRUCK,
    Block,
    BlockKind,
    Layout,
    Prop,
    PropKind,
    Rng,
    Street,
    Thing,
    ToyDomain,
)

# Per cent of instances (UrbanSyn's long tail, design.md section 8). A rider comes with every
# two-wheeler, so the 6 % of riders are not drawn on their own; `parking` takes some away.
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

# Kind, share, lowest and highest in metres.
_BLOCKS: Final[tuple[tuple[BlockKind, float, float, float], ...]] = (
    ("building", 0.62, 6.0, 17.0),
    ("wall", 0.1, 1.3, 2.8),
    ("fence", 0.1, 1.1, 1.9),
    ("hedge", 0.1, 1.0, 2.4),
    ("open", 0.08, 0.0, 0.1),
)
_PROPS: Final[tuple[tuple[PropKind, float, float, float], ...]] = (
    ("lamp", 0.24, 5.0, 8.0),
    ("traffic_light", 0.15, 2.7, 3.6),
    ("sign", 0.22, 2.3, 3.2),
    ("tree", 0.27, 4.5, 9.0),
    ("bin", 0.06, 0.8, 1.2),
    ("bush", 0.06, 0.7, 1.4),
)


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
    things = place_all(rng, labels, street, rig)
    crowd: tuple[Thing, ...] = ()
    if crowd_rng is not None and crowd_rng.random() < GROUP_SHARE:
        crowd = sample_crowd(crowd_rng, rig)
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
    blocks: list[Block] = []
    near = 2.5
    while near < 75.0:
        far = near + rng.uniform(7.0, 20.0)
        if crossing is not None and near < crossing < far:
            far = crossing - 1.0
        kind, _, low, high = _BLOCKS[_pick(rng, [weight for _, weight, _, _ in _BLOCKS])]
        if far - near > 1.0:
            blocks.append(Block(kind, near, far, rng.uniform(low, high), rng.getrandbits(31)))
        near = far
        if crossing is not None and abs(near - (crossing - 1.0)) < 0.01:
            near = crossing + width + 1.0
    return tuple(blocks)


def _sample_props(rng: Rng, street: Street) -> tuple[Prop, ...]:
    """Draw street furniture and trees along both kerbs."""
    props: list[Prop] = []
    for side in (-1, 1):
        edge = street.left if side < 0 else street.right
        facade = street.facade_left if side < 0 else street.facade_right
        for _ in range(rng.randrange(1, 4)):
            kind, _, low, high = _PROPS[_pick(rng, [weight for _, weight, _, _ in _PROPS])]
            z = math.exp(rng.uniform(math.log(9.0), math.log(45.0)))
            x = edge + side * rng.uniform(0.4, 0.9)
            if kind in ("tree", "bush") and rng.random() < 0.5:
                x = facade - side * rng.uniform(0.3, 0.8)
            props.append(Prop(kind, x, z, rng.uniform(low, high), rng.getrandbits(31)))
    return tuple(props)
