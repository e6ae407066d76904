"""What the rows of a suite find above one score, over the steps: three charts a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from uda4inst.evaluation.found import MEASURES, SCORE, FoundMeasure
from uda4inst.suites.found_curves import Counts, Curve, curves_of, judged_on_the_way, sums
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import Network
from workbench.pages.results.charts import row_color
from workbench.ui import plots
from workbench.ui.entries import entry
from workbench.ui.markup import section
from workbench.ui.plots import Chart, Line

_TITLES: Final[Mapping[FoundMeasure, str]] = {
    "precision": "precision, per cent",
    "recall": "recall, per cent",
    "detections an object": "detections for every object",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that was judged on the way: its counts by step and class."""

    label: str
    color: str
    steps: Mapping[int, Counts]


def found_curves(results: SuiteResults, network: Network) -> str:
    """Return the section, the rarest class first and open; "" where none was judged on the way."""
    curves = curves_of(results, network)
    if not judged_on_the_way(curves):
        return ""
    rows = [
        _Row(row.label_for(network), row_color(row, index), sums(curves[row.key]))
        for index, row in enumerate(results.rows)
        if row.key in curves
    ]
    objects = _objects(curves)
    hint = (
        f"score above {SCORE}, right where IoU is above .5, Cityscapes protocol, {network}; "
        f"over the runs of a row together ({_runs(curves)} at a step)"
    )
    entries = "".join(
        _entry(name, objects[name], rows, is_open=place == 0)
        for place, name in enumerate(sorted(objects, key=objects.__getitem__))
    )
    return f"{section('Found over the steps', hint)}{entries}"


def _entry(name: str, objects: int, rows: Sequence[_Row], *, is_open: bool) -> str:
    """Return the charts of one class as an entry that opens on a click."""
    drawn = "".join(plots.draw(_chart(name, measure, rows)) for measure in MEASURES)
    summary = f"{name}: {objects:,} to find in the first run"
    return entry(name, summary, f'<div class="wb-charts">{drawn}</div>', is_open=is_open)


def _chart(name: str, measure: FoundMeasure, rows: Sequence[_Row]) -> Chart:
    places = sorted({step for row in rows for step in row.steps})
    scale = 1 if measure == "detections an object" else 100

    def value(row: _Row, step: int) -> float:
        counts = row.steps.get(step, {}).get(name)
        known = counts.value(measure) if counts else None
        return np.nan if known is None else scale * known

    lines = [
        Line(row.label, row.color, np.asarray([value(row, step) for step in places]))
        for row in rows
    ]
    x = np.asarray(places, dtype=np.float64)
    return Chart(_TITLES[measure], x, lines, joined=True)


def _objects(curves: Mapping[str, Curve]) -> dict[str, int]:
    """Return how many objects of each class the first run that was judged on it had to find."""
    objects: dict[str, int] = {}
    for curve in curves.values():
        for parts in curve.values():
            for name, counts in parts[0].items():
                objects.setdefault(name, counts.objects)
    return objects


def _runs(curves: Mapping[str, Curve]) -> str:
    """Return how many runs there are at a step, the fewest and the most."""
    counts = {len(parts) for curve in curves.values() for parts in curve.values()}
    least, most = min(counts), max(counts)
    return f"{most}" if least == most else f"{least} to {most}"
