"""The classes of a session's objects: the eight, and those its data or its run have beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from uda4inst.classes import EIGHT, ThingClasses
from workbench.sessions.library import fo

OWN_CLASSES: Final = "own_classes"  # in the facts of a data set of ours
_KEY: Final = "uda4inst"


def things_of(images: fo.SampleCollection) -> ThingClasses:
    """Return the classes of a session; the eight where it names no others."""
    info = images._root_dataset.info.get(_KEY, {})
    return ThingClasses(tuple(info.get(OWN_CLASSES, ())))


def own_of(every: Sequence[ThingClasses]) -> list[str]:
    """Return the names beside the eight of the first that has some, for `OWN_CLASSES`."""
    return list(next((things.own for things in every if things.own), EIGHT.own))


def count_field(name: str) -> str:
    """Return the field that counts the objects of a class in an image.

    Example:
        >>> count_field("tow truck")
        'counts.tow_truck'
    """
    return f"counts.{name.replace(' ', '_')}"
