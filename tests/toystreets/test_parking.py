"""Two-wheelers without rider: how many, where, labelled how, and what they leave alone."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from uda4inst.toystreets import Layout, Scene, parking, render_scene, scene_layout
from uda4inst.toystreets.world import RIDER, TWO_WHEELERS, Thing, ToyDomain

KEY = {"seed": 5, "split": "val"}


def layouts(domain: ToyDomain, scenes: int) -> list[Layout]:
    return [scene_layout(domain=domain, index=index, **KEY) for index in range(scenes)]  # type: ignore[arg-type]


def two_wheelers(found: list[Layout]) -> list[tuple[Layout, Thing]]:
    return [(one, thing) for one in found for thing in one.things if thing.label in TWO_WHEELERS]


def paint(index: int) -> Scene:
    return render_scene(domain="camera", index=index, size=(128, 256), **KEY)  # type: ignore[arg-type]


def first_with(found: list[Layout], *, parked: bool) -> int:
    """First scene whose two-wheelers, one or more, are all parked, or all ridden."""
    return next(
        index
        for index, one in enumerate(found)
        if (states := [thing.parked for _, thing in two_wheelers([one])])
        and all(state == parked for state in states)
    )


@pytest.fixture(scope="module")
def camera() -> list[Layout]:
    return layouts("camera", 1200)


@pytest.fixture(scope="module")
def unparked() -> list[Layout]:
    """The same scenes, had nobody left a two-wheeler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parking, "PARKED_SHARE", 0.0)
        return layouts("camera", 1200)


def test_parking__takes_the_riders_of_cityscapes_share(camera: list[Layout]) -> None:
    states = [thing.parked for _, thing in two_wheelers(camera)]
    deviation = (0.59 * 0.41 / len(states)) ** 0.5
    assert abs(np.mean(states) - 0.59) < 4 * deviation


@pytest.mark.parametrize("domain", ["render", "neutral"])
def test_parking__leaves_a_rider_on_every_other_domains_two_wheelers(domain: ToyDomain) -> None:
    found = layouts(domain, 300)
    assert two_wheelers(found)
    assert not any(thing.parked for _, thing in two_wheelers(found))


def test_parking__counts_no_rider_on_a_parked_one(camera: list[Layout]) -> None:
    riders = sum(one.labels.count(RIDER) for one in camera)
    assert riders == sum(not thing.parked for _, thing in two_wheelers(camera))
    assert all(sum(thing.instances for thing in one.things) == len(one.labels) for one in camera)


def test_parking__moves_nothing_but_the_parked(
    camera: list[Layout], unparked: list[Layout]
) -> None:
    others = [field.name for field in fields(Layout) if field.name != "things"]
    for one, before in zip(camera, unparked, strict=True):
        assert all(getattr(one, name) == getattr(before, name) for name in others)
        assert len(one.things) == len(before.things)
        assert [thing for thing in one.things if not thing.parked] == [
            thing
            for thing in before.things
            if thing.variant not in {other.variant for other in one.things if other.parked}
        ]


def test_parking__leaves_the_bytes_of_other_scenes(
    camera: list[Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = next(index for index, one in enumerate(camera) if not two_wheelers([one]))
    indices = (without, first_with(camera, parked=False), first_with(camera, parked=True))
    now = [paint(index).image.tobytes() for index in indices]
    monkeypatch.setattr(parking, "PARKED_SHARE", 0.0)
    before = [paint(index).image.tobytes() for index in indices]
    assert [one == other for one, other in zip(now, before, strict=True)] == [True, True, False]


def test_parking__stands_them_at_the_road_s_edge_or_on_the_sidewalk(camera: list[Layout]) -> None:
    parked = [(one.street, thing) for one, thing in two_wheelers(camera) if thing.parked]
    on_road = [street.left < thing.x < street.right for street, thing in parked]
    at_kerb = [
        min(thing.x - street.left, street.right - thing.x) < thing.half_x + 0.2
        for (street, thing), road in zip(parked, on_road, strict=True)
        if road
    ]
    assert 0.2 < np.mean(on_road) < 0.5
    assert np.mean(at_kerb) > 0.95  # a few find no room and stay where they were
    inside = [street.facade_left < thing.x < street.facade_right for street, thing in parked]
    assert all(inside)


@pytest.mark.parametrize("label", TWO_WHEELERS)
def test_parking__parked_ones_are_painted_without_rider(camera: list[Layout], label: int) -> None:
    index = next(
        index
        for index, one in enumerate(camera)
        if RIDER not in one.labels
        and any(thing.parked and thing.label == label and thing.z < 10.0 for thing in one.things)
    )
    labels = paint(index).labels.tolist()
    assert label in labels
    assert RIDER not in labels


def test_parking__paints_far_things_first(camera: list[Layout]) -> None:
    depths = [[thing.depth for thing in one.things] for one in camera]
    assert all(found == sorted(found, reverse=True) for found in depths)
