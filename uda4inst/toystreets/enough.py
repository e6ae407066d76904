"""Which further scenes give a validation split enough objects of every class to judge by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np

from uda4inst.classes import THING_CLASSES, THING_NAMES
from uda4inst.errors import UserError
from uda4inst.structures import Size
from uda4inst.toystreets.encode import SceneArrays

# What Cityscapes' AP takes as a target: objects of at least so many pixels, no groups.
JUDGED_PIXELS: Final = 100
_MAX_MISSES: Final = 300  # scenes in a row that hold a class, none of them with a judged object

Counts = tuple[int, ...]  # one number per thing class


def judged_objects(scene: SceneArrays) -> Counts:
    """Return how many objects of each thing class Cityscapes' AP would judge: 8 numbers."""
    areas = np.bincount(scene.ids[scene.ids > 0], minlength=len(scene.labels) + 1)[1:]
    large = scene.labels[areas >= JUDGED_PIXELS]
    return tuple(np.bincount(large, minlength=len(THING_CLASSES)).tolist())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A scene that may be added: its index, and the classes that its layout holds."""

    index: int
    classes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Added:
    """A scene that was added, and the classes that lacked objects when it was."""

    index: int
    classes: tuple[int, ...]


@dataclass(slots=True)
class Tally:
    """Judged objects by class, and the scenes added until no class lacks any.

    Args:
        wanted: judged objects that every class must have.
        size: (height, width) of the pictures, for the message when it cannot be reached.
        judged: judged objects of each thing class so far: 8 numbers.
    """

    wanted: int
    size: Size
    judged: list[int] = field(default_factory=lambda: [0] * len(THING_CLASSES))
    added: list[Added] = field(default_factory=list)
    _misses: list[int] = field(default_factory=lambda: [0] * len(THING_CLASSES))

    @property
    def lacking(self) -> frozenset[int]:
        """Classes that have too few judged objects."""
        return frozenset(label for label, have in enumerate(self.judged) if have < self.wanted)

    def count(self, judged: Counts) -> None:
        """Count a scene of the split."""
        self.judged = [have + more for have, more in zip(self.judged, judged, strict=True)]

    def offer(self, candidate: Candidate, judged: Counts) -> bool:
        """Take the next candidate, in order of index, if it shows an object of a lacking class.

        Args:
            candidate: the scene.
            judged: its judged objects of each class: 8 numbers.

        Returns:
            Whether it now belongs to the split.

        Raises:
            UserError: scene after scene holds a class, but no object that would be judged.
        """
        sought = self.lacking & candidate.classes
        for label in sorted(sought):
            self._misses[label] = 0 if judged[label] else self._misses[label] + 1
            if self._misses[label] >= _MAX_MISSES:
                height, width = self.size
                raise UserError(
                    f"val_objects must be a number of objects that scenes of {height}x{width} "
                    f"show, got {self.wanted}: {self.judged[label]} of class "
                    f"{THING_NAMES[label]} were found, then {_MAX_MISSES} scenes in a row had "
                    f"none of {JUDGED_PIXELS} pixels. Choose a larger size or fewer objects."
                )
        shown = tuple(label for label in sorted(sought) if judged[label])
        if shown:
            self.added.append(Added(candidate.index, shown))
            self.count(judged)
        return bool(shown)


def rounds(
    tally: Tally, classes_of: Callable[[int], frozenset[int]], *, start: int, scenes: int
) -> Iterator[list[Candidate]]:
    """Yield the next candidates, `scenes` at a time, until no class lacks objects.

    A round holds every scene that could be taken next, so what is taken does not depend on how
    many there are in one.

    Args:
        tally: what is lacking; the caller offers it each round's candidates in order.
        classes_of: thing classes of the layout of a scene.
        start: first index.
        scenes: candidates in a round.
    """
    indices = count(start)
    while tally.lacking:
        found: list[Candidate] = []
        while len(found) < scenes:
            index = next(indices)
            classes = classes_of(index)
            if classes & tally.lacking:
                found.append(Candidate(index, classes))
        yield found
