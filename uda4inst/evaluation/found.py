"""What a network finds at one score: precision, recall and how often it sees a class.

AP says how well detections are ranked. These say whether a class is seen too often or not at all,
which is where balancing by rarity shows first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from uda4inst.classes import THING_NAMES
from uda4inst.evaluation.cityscapes_ap import JudgedClass

SCORE: Final = 0.5
KEY: Final = "found"
FoundMeasure = Literal["precision", "recall", "detections an object"]
MEASURES: Final[tuple[FoundMeasure, ...]] = ("precision", "recall", "detections an object")


@dataclass(frozen=True, slots=True)
class FoundClass:
    """Counts of one class over a data set, at IoU above .5 by the Cityscapes protocol.

    Args:
        objects: to find.
        detections: with a score above `SCORE` that are right or wrong; what the protocol drops
            (on void, groups and small objects) is neither.
        right: of these.
    """

    objects: int
    detections: int
    right: int

    def value(self, measure: FoundMeasure) -> float | None:
        """Return a share, or detections for every object; None where nothing can be divided."""
        above = self.detections if measure == "detections an object" else self.right
        below = self.detections if measure == "precision" else self.objects
        return above / below if below else None


def found_above(
    classes: Sequence[JudgedClass],
    *,
    score: float = SCORE,
    names: Sequence[str] = THING_NAMES,
    every: Sequence[str] = THING_NAMES,
) -> dict[str, FoundClass]:
    """Return the counts of every judged class.

    Args:
        classes: of `CityscapesAP.judged`.
        score: what detections have to exceed.
        names: the classes that are judged.
        every: names of all classes.
    """
    return {
        name: FoundClass(
            objects=int(judged.targets.sum()),
            detections=_count((judged.right | judged.wrong)[:, 0], judged.scores > score),
            right=_count(judged.right[:, 0], judged.scores > score),
        )
        for name, judged in zip(every, classes, strict=True)
        if name in names
    }


def _count(kind: Any, sure: Any) -> int:
    return int(np.count_nonzero(kind & sure))


def found_json(found: Mapping[str, FoundClass], *, score: float = SCORE) -> dict[str, Any]:
    """Return counts as an evaluation's file holds them."""
    classes = {
        name: {"objects": c.objects, "detections": c.detections, "right": c.right}
        for name, c in found.items()
    }
    return {"score": score, "per_class": classes}


def read_found(result: Mapping[str, Any]) -> dict[str, FoundClass]:
    """Return the counts of a protocol's result; none in files of earlier versions."""
    part = result.get(KEY)
    classes = part.get("per_class", {}) if isinstance(part, Mapping) else {}
    return {name: FoundClass(**counts) for name, counts in classes.items()}
