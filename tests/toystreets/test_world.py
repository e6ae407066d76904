from __future__ import annotations

import numpy as np
import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.toystreets import scene_layout
from uda4inst.toystreets.parking import PARKED_SHARE
from uda4inst.toystreets.world import RIDER, ToyDomain

# design.md section 8, per cent of instances
SHARES = {
    "person": 57.0,
    "rider": 6.0,
    "car": 27.0,
    "truck": 1.9,
    "bus": 1.6,
    "train": 0.4,
    "motorcycle": 2.6,
    "bicycle": 3.2,
}


def labels_of(domain: ToyDomain, scenes: int) -> list[int]:
    return [
        label
        for index in range(scenes)
        for label in scene_layout(seed=0, domain=domain, split="shares", index=index).labels
    ]


@pytest.mark.parametrize("domain", ["render", "camera"])
def test_layout__instance_shares_follow_urbansyn(domain: ToyDomain) -> None:
    labels = labels_of(domain, 1500)
    expected = np.array([SHARES[name] for name in THING_NAMES]) / 100.0
    if domain == "camera":  # parked two-wheelers have no rider
        expected[RIDER] *= 1.0 - PARKED_SHARE
        expected /= expected.sum()
    counts = np.bincount(labels, minlength=len(THING_NAMES))
    # four standard deviations of a count drawn that many times, and the table's rounding
    tolerance = 4.0 * np.sqrt(expected / len(labels)) + 0.002
    assert (np.abs(counts / len(labels) - expected) < tolerance).all()


def test_layout__neutral_has_enough_of_every_class() -> None:
    labels = labels_of("neutral", 400)
    counts = np.bincount(labels, minlength=len(THING_NAMES))
    assert counts.min() / len(labels) > 0.04


def test_layout__does_not_depend_on_order() -> None:
    first = [scene_layout(seed=2, domain="camera", split="val", index=i) for i in (0, 1)]
    again = [scene_layout(seed=2, domain="camera", split="val", index=i) for i in (1, 0)]
    assert first == again[::-1]


def test_layout__paints_far_things_first() -> None:
    depths = [
        thing.depth for thing in scene_layout(seed=0, domain="render", split="t", index=9).things
    ]
    assert depths == sorted(depths, reverse=True)
