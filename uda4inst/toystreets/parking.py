"""Two-wheelers without rider: which of a camera scene's are parked, and where they stand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from uda4inst.toystreets.canvas import Rig
from uda4inst.toystreets.placement import fits, paint_depth, sample_depth, visible_half
from uda4inst.toystreets.world import TWO_WHEELERS, Layout, Prop, Rng, Street, Thing

# Share of the camera domain's two-wheelers that have no rider: Cityscapes' validation set has 1,318
# motorcycles and bicycles, but about 544 riders. UrbanSyn has a rider on practically every one
# (7,178 riders, 7,193 two-wheelers), so the other domains park none.
PARKED_SHARE: Final = 0.59
_ON_ROAD: Final = 0.2  # share of the parked that stand on the road, at the kerb
_SIDE_ON: Final = 0.6  # share seen square from the side; the rest stands oblique
_TRIES: Final = 120
_CHOOSY_TRIES: Final = 8  # before the road's edge will do for what belongs on a sidewalk
_KERB: Final = 0.3  # metres from the road's edge to what stands on the sidewalk; the kerb is 0.2
_CLEARANCE: Final = 0.3  # metres between a two-wheeler and street furniture
_TRAM: Final = 1.5  # metres to either side of rails that are kept free


def park_two_wheelers(rng: Rng, layout: Layout) -> Layout:
    """Take the riders from a share of the two-wheelers and put these where parked ones stand.

    All else keeps its place and looks; without two-wheelers the layout is returned as it is.
    """
    chosen = {
        index
        for index, thing in enumerate(layout.things)
        if thing.label in TWO_WHEELERS and rng.random() < PARKED_SHARE
    }
    if not chosen:
        return layout
    placed = [thing for index, thing in enumerate(layout.things) if index not in chosen]
    for index in sorted(chosen):
        placed.append(_park(rng, layout.things[index], placed, layout))
    return replace(layout, things=tuple(sorted(placed, key=lambda thing: -thing.depth)))


def _park(rng: Rng, thing: Thing, placed: list[Thing], layout: Layout) -> Thing:
    """Return the thing parked: where there is room, else at the last spot drawn."""
    best = replace(thing, parked=True)
    on_road = rng.random() < _ON_ROAD
    for attempt in range(_TRIES):
        if attempt >= _CHOOSY_TRIES:
            on_road = rng.random() < 0.5
        spot = _spot(rng, best, layout, on_road=on_road)
        if spot is None:
            continue
        best = spot
        if fits(best, placed, layout.rig) and _is_clear(best, layout.props):
            break
    return replace(best, depth=paint_depth(best, placed))


def _spot(rng: Rng, thing: Thing, layout: Layout, *, on_road: bool) -> Thing | None:
    """Draw a spot on a sidewalk or at the kerb of the road; None where the camera does not see."""
    side = 1 if rng.random() < 0.5 else -1
    thing = replace(thing, z=sample_depth(rng, 7.0, 21.0, layout.rig))
    stand = _on_road if on_road else _on_sidewalk
    found = stand(rng, thing, layout.street, side)
    return found if found is not None and _is_in_view(found, layout.rig) else None


def _on_sidewalk(rng: Rng, thing: Thing, street: Street, side: int) -> Thing | None:
    """Stand it at the houses, at the kerb or in between; None on a cross street or without room."""
    yaw = 0.5 * math.pi + rng.gauss(0.0, 0.15) if rng.random() < _SIDE_ON else _oblique(rng)
    thing = replace(thing, yaw=yaw if rng.random() < 0.5 else -yaw)
    edge, facade, strip = (
        (street.left, street.facade_left, street.terrain[0])
        if side < 0
        else (street.right, street.facade_right, street.terrain[1])
    )
    # The sidewalk reaches 0.6 m into a strip of green before the houses, as it is painted.
    near = _KERB + thing.half_x
    far = abs(facade - edge) - max(0.0, strip - 0.6) - 0.1 - thing.half_x
    if far < near or _crosses(street, thing, 0.5):
        return None
    where = rng.random()
    off = far if where < 0.4 else near if where < 0.7 else rng.uniform(near, far)
    return replace(thing, x=edge + side * off)


def _on_road(rng: Rng, thing: Thing, street: Street, side: int) -> Thing | None:
    """Stand it on the road at an angle to the kerb; None at a crossing or on tram rails."""
    yaw = _oblique(rng)
    thing = replace(thing, yaw=yaw if rng.random() < 0.5 else -yaw)
    edge = street.left if side < 0 else street.right
    thing = replace(thing, x=edge - side * (0.1 + thing.half_x))
    if _crosses(street, thing, 4.0):
        return None
    if street.rails is not None and abs(thing.x - street.rails) < _TRAM + thing.half_x:
        return None
    return thing


def _oblique(rng: Rng) -> float:
    """Draw a heading between along and across the street, towards or away from the camera."""
    turn = rng.uniform(0.45, 1.2)
    return turn if rng.random() < 0.5 else math.pi - turn


def _crosses(street: Street, thing: Thing, margin: float) -> bool:
    """Tell whether a thing stands in the cross street, or within `margin` metres of it."""
    if street.crossing is None:
        return False
    reach = margin + thing.half_z
    return street.crossing - reach < thing.z < street.crossing + street.crossing_width + reach


def _is_in_view(thing: Thing, rig: Rig) -> bool:
    """Tell whether three quarters of a thing lie between the picture's sides."""
    return abs(thing.x) + 0.5 * thing.half_x < visible_half(rig, thing.z)


def _is_clear(thing: Thing, props: tuple[Prop, ...]) -> bool:
    """Tell whether no street furniture stands in a thing."""
    return not any(
        abs(thing.x - prop.x) < thing.half_x + _CLEARANCE
        and abs(thing.z - prop.z) < thing.half_z + _CLEARANCE
        for prop in props
    )
