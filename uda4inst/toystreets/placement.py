"""Where things stand: drawn in metres, without collisions and without hiding one another whole."""

from __future__ import annotations

import math
from dataclasses import replace

from uda4inst.toystreets.canvas import Rig
from uda4inst.toystreets.world import (
    CAR,
    DIMENSIONS,
    PERSON,
    TRAIN,
    TWO_WHEELERS,
    VEHICLES,
    Rng,
    Street,
    Thing,
)


def visible_half(rig: Rig, z: float) -> float:
    """Half the width of street in view at a depth."""
    return 0.5 * z / rig.focal


def place_all(rng: Rng, labels: list[int], street: Street, rig: Rig) -> tuple[Thing, ...]:
    """Place the things one after the other, avoiding collisions and total occlusion."""
    placed: list[Thing] = []
    for label in labels:
        best: Thing | None = None
        for _ in range(14):
            best = _candidate(rng, label, street, rig, placed)
            if fits(best, placed, rig):
                break
        assert best is not None
        placed.append(best)
    ordered = [replace(thing, depth=paint_depth(thing, placed)) for thing in placed]
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
        z = sample_depth(rng, 7.0, 24.0, rig)
        half = visible_half(rig, z)
        x = rng.uniform(max(street.left, -half), min(street.right, half))
        turn = rng.uniform(0.25, 1.3) * (1 if rng.random() < 0.5 else -1)
        yaw = turn if rng.random() < 0.5 else math.pi - turn
        return x, z, float(yaw)
    if label == TRAIN:
        return _train_position(rng, street, rig)
    return _motor_position(rng, label, street, rig)


def sample_depth(rng: Rng, near: float, far: float, rig: Rig) -> float:
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
    z = (
        sample_depth(rng, 6.5, 31.0, rig)
        if rng.random() < 0.94
        else sample_depth(rng, 31.0, 40.0, rig)
    )
    half = 1.02 * visible_half(rig, z)
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
        half = visible_half(rig, z) + 0.2 * length
        side = 1.0 if rng.random() < 0.5 else -1.0
        return rng.uniform(-half, half), z, float(side * math.pi / 2 + rng.gauss(0, 0.06))
    near = 7.0 + 0.5 * length if label == CAR else 9.0 + 0.5 * length
    z = sample_depth(rng, near, 27.0 if label == CAR else 34.0, rig)
    half = visible_half(rig, z)
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


def fits(thing: Thing, placed: list[Thing], rig: Rig) -> bool:
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


def paint_depth(thing: Thing, placed: list[Thing]) -> float:
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


def sample_crowd(rng: Rng, rig: Rig) -> tuple[Thing, ...]:
    """Draw a distant crowd that is labelled as one group."""
    z0 = rng.uniform(30.0, 40.0)
    half = visible_half(rig, z0)
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
