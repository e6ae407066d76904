"""A class map put to data sets whose classes are the eight: what becomes of each of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, THING_CLASSES, THING_NAMES
from uda4inst.data.records import InstanceArrays, LabelArrays, shorten, without
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap, folded

_Arrays = TypeVar("_Arrays", bound=InstanceArrays)


@dataclass(frozen=True, slots=True, eq=False)
class Relabelling:
    """What classes become.

    Args:
        things: thing index -> thing index, -1 for background.
        train_ids: trainId 0..255 -> trainId, 255 for background.
    """

    things: Int64[np.ndarray, " 8"]
    train_ids: UInt8[np.ndarray, " 256"]

    @property
    def is_nothing(self) -> Bool[np.ndarray, " 256"]:
        """Which trainIds are of classes that became background."""
        return (self.train_ids == IGNORE_TRAIN_ID) & (np.arange(256) != IGNORE_TRAIN_ID)

    @classmethod
    def of(cls, class_map: ClassMap, known: Collection[int], *, name: str) -> Relabelling:
        """Return what a class map makes of a data set's classes.

        Args:
            class_map: its names are classes of the data set.
            known: thing indices of the data set's classes.
            name: of the data set, for messages.

        Raises:
            UserError: the map names a class that the data set does not have, or leaves one out.
        """
        if class_map.things.own:
            raise UserError(
                f"class map must give the classes of {name} one of the eight, got classes of its "
                f"own, {', '.join(class_map.things.own)} ({class_map.path}). They need labels that "
                "name them, as a COCO folder's do."
            )
        own = {folded(THING_NAMES[thing]): thing for thing in known}
        foreign = [repr(key) for key, _ in class_map.names if key not in own]
        unnamed = [repr(key) for key in own if not class_map.has(key)]
        if foreign or unnamed:
            got = [f"unknown {shorten(foreign)}"] if foreign else []
            got += [f"no word of {shorten(unnamed)}"] if unnamed else []
            raise UserError(
                f"class map must name every class of {name} ({', '.join(own)}) and no other, got "
                f"{' and '.join(got)} ({class_map.path}). One that stays is mapped to itself."
            )
        things = np.arange(len(THING_CLASSES))
        train_ids = np.arange(256, dtype=np.uint8)
        for key, thing in own.items():
            label = class_map.label_of(key)
            things[thing] = -1 if label is None else label
            new = IGNORE_TRAIN_ID if label is None else THING_CLASSES[label].train_id
            train_ids[THING_CLASSES[thing].train_id] = new
        return cls(things, train_ids)

    def kept(self, labels: Int64[np.ndarray, " N"]) -> np.ndarray:
        """Return which objects are still of a class, (N,) bool."""
        return self.things[labels] >= 0

    def put_to(self, arrays: _Arrays) -> _Arrays:
        """Return labels with their new classes; objects that have none are background, id 0."""
        kept = self.kept(arrays.labels)
        arrays = arrays if kept.all() else without(arrays, ~kept, fill=0)
        arrays = replace(arrays, labels=self.things[arrays.labels])
        if isinstance(arrays, LabelArrays):
            return replace(arrays, semantic=self.train_ids[arrays.semantic])
        return arrays
