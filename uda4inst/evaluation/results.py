"""What an AP protocol answers: the averages and each class, in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import THING_NAMES

# Both protocols put the threshold .50 first.
_AP50_COLUMN = 0


@dataclass(frozen=True, slots=True)
class ClassAP:
    """AP and AP50 of one class, in [0, 1]."""

    AP: float
    AP50: float


@dataclass(frozen=True, slots=True)
class APResult:
    """Mask AP over a data set, in [0, 1].

    Args:
        AP: mean over classes and thresholds .50:.95; None where no class has ground truth.
        AP50: the same at .50.
        per_class: every thing class by name; None for a class without ground truth.
    """

    AP: float | None
    AP50: float | None
    per_class: dict[str, ClassAP | None]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON holds it, numbers with all their digits."""
        return {
            "AP": self.AP,
            "AP50": self.AP50,
            "per_class": {
                name: None if value is None else {"AP": value.AP, "AP50": value.AP50}
                for name, value in self.per_class.items()
            },
        }


def from_matrix(matrix: NDArray[np.float64], names: Sequence[str] = THING_NAMES) -> APResult:
    """Return the averages of an AP matrix (classes, thresholds), as the official tool takes them.

    Args:
        matrix: nan in the rows of classes without ground truth.
        names: of the classes.
    """
    present = ~np.isnan(matrix[:, _AP50_COLUMN])
    per_class: dict[str, ClassAP | None] = {
        name: ClassAP(float(np.average(row)), float(row[_AP50_COLUMN])) if has_truth else None
        for name, row, has_truth in zip(names, matrix, present, strict=True)
    }
    if not present.any():
        return APResult(None, None, per_class)
    at_50 = np.ascontiguousarray(matrix[:, _AP50_COLUMN])
    return APResult(float(np.nanmean(matrix)), float(np.nanmean(at_50)), per_class)


def restrict(result: APResult, names: Sequence[str]) -> APResult:
    """Return the result over some classes; the others count as not judged (None)."""
    mean = class_mean(result, names)
    per_class = {n: value if n in names else None for n, value in result.per_class.items()}
    return APResult(mean and mean.AP, mean and mean.AP50, per_class)


def class_mean(result: APResult, names: Sequence[str]) -> ClassAP | None:
    """Return the mean over some classes (a source that lacks trains is judged without them).

    Classes without ground truth are left out; None where none is left.
    """
    found = [value for name in names if (value := result.per_class[name]) is not None]
    if not found:
        return None
    return ClassAP(float(np.mean([v.AP for v in found])), float(np.mean([v.AP50 for v in found])))
