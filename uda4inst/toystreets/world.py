"""The world model all ToyStreets domains share: things, houses and furniture in metres."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Final, Literal

from uda4inst.classes import thing_index
from uda4inst.toystreets.canvas import Rig

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

    A parked two-wheeler has no rider and is one instance.

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
        parked: a two-wheeler that stands by itself, without rider.
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
    parked: bool = False

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
        return 2 if self.label in TWO_WHEELERS and not self.parked else 1


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
        """Thing index of every instance, riders included: one for every two-wheeler in use."""
        out: list[int] = []
        for thing in self.things:
            out.append(thing.label)
            if thing.instances == 2:
                out.append(RIDER)
        return tuple(out)
