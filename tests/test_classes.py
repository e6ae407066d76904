"""The class space: the eight, and classes of somebody's own behind them."""

from __future__ import annotations

import numpy as np
import pytest

from uda4inst.classes import (
    EIGHT,
    LABEL_TO_THING,
    MAX_OWN_CLASSES,
    MAX_THINGS,
    RAW_TO_THING,
    THING_NAMES,
    ThingClasses,
)
from uda4inst.colors import CLASS_COLORS


def test_thing_classes__own_ones_are_numbered_behind_the_eight() -> None:
    things = ThingClasses(("traffic sign", "cone"))
    assert things.names == (*THING_NAMES, "traffic sign", "cone")
    assert (len(things), things.index("car"), things.index("cone")) == (10, 2, 9)
    assert things.label_ids.tolist() == [*EIGHT.label_ids.tolist(), 34, 35]
    assert RAW_TO_THING[things.label_ids].tolist() == list(range(10))
    assert LABEL_TO_THING[things.label_ids].tolist() == [*range(8), -1, -1]


def test_thing_classes__unknown_name_has_a_hint() -> None:
    with pytest.raises(ValueError, match=r"got 'tram'\. Did you mean train\?"):
        EIGHT.index("tram")
    with pytest.raises(ValueError, match="Did you mean cone"):
        ThingClasses(("cone",)).index("cones")


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (("Cone",), "lower-case letters and digits"),
        (("a  b",), "single spaces"),
        (("a/b",), "lower-case"),
        (("",), "lower-case"),
        (("x" * 41,), "at most 40"),
        (("car",), "names of their own, got 'car' again"),
        (("background",), "names of their own"),
        (("cone", "sign", "cone"), "got 'cone' again"),
        (tuple(f"c{n}" for n in range(MAX_OWN_CLASSES + 1)), "at most 92, got 93"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_thing_classes__names_that_cannot_be(own: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ThingClasses(own)


@pytest.mark.parametrize(
    ("own", "names"),
    [(["cone"], ("cone",)), (("a b",), ("a b",)), ([1, "Cone"], ()), ("cone", ()), (None, ())],
)
def test_thing_classes__said_by_a_file(own: object, names: tuple[str, ...]) -> None:
    assert ThingClasses.said(own).own == names


def test_class_colors__there_is_one_for_every_class_and_neighbours_differ() -> None:
    assert len(CLASS_COLORS) == MAX_THINGS
    assert len(set(CLASS_COLORS)) == MAX_THINGS
    values = np.array(CLASS_COLORS, dtype=np.int64)
    assert np.abs(np.diff(values, axis=0)).sum(axis=1).min() > 60
