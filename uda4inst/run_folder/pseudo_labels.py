"""How many pseudo-labels the teacher gave while a run was trained, by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import mean
from typing import Final

from uda4inst.run_folder.layout import RunDir, module_names
from uda4inst.run_folder.metrics import MetricsReader

PARTS: Final = 3
STEPS: Final = 100  # counts are for so many steps
_TOO_MANY: Final = 10**6  # no step has so many

Thirds = tuple[float, ...]


def read_thirds(run: RunDir) -> dict[str, Thirds]:
    """Return the pseudo-labels in 100 steps by class, in thirds of self-training.

    A step has as many target crops as the batch is large. Where there are category groups, those of
    all are added up. None where the run has no pseudo-labels of instances, or kept no metrics.
    """
    parts = [_of_network(part) for part in ([run.module(n) for n in module_names(run)] or [run])]
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: tuple(
            sum(third) for third in zip(*(p[name] for p in parts if name in p), strict=True)
        )
        for name in names
    }


def _of_network(run: RunDir) -> dict[str, Thirds]:
    """Return the counts that one network's metrics have, by class."""
    lines = list(_counts(run))
    if len(lines) < PARTS:
        return {}
    edges = [len(lines) * part // PARTS for part in range(PARTS + 1)]
    thirds = [lines[low:high] for low, high in pairwise(edges)]
    return {
        name: tuple(STEPS * mean(line.get(name, 0.0) for line in third) for third in thirds)
        for name in dict.fromkeys(name for line in lines for name in line)
    }


def _counts(run: RunDir) -> Iterator[dict[str, float]]:
    """Yield what each logged step has, where it has counts by class."""
    for _, line in MetricsReader(run.metrics).read_new().lines:
        counts = line.get("pseudo_labels")
        if isinstance(counts, Mapping):
            yield {
                str(name): float(count)
                for name, count in counts.items()
                if isinstance(count, int | float) and 0 <= count < _TOO_MANY
            }
