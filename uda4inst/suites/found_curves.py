"""What the rows of a suite find above one score, over the steps: as curves, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from uda4inst.atomic import whole_file, write_whole
from uda4inst.evaluation.found import MEASURES, SCORE, FoundClass
from uda4inst.run_folder.evaluations import evaluated_steps, read_evaluation
from uda4inst.suites.figures import line_style
from uda4inst.suites.found import PROTOCOL, counts_of, together
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import Network, RowResult
from uda4inst.suites.tables import how_judged, named

_DPI: Final = 110
CSV_COLUMNS: Final = (
    "suite",
    "scale",
    "row",
    "label",
    "network",
    "step",
    "class",
    "n",
    "objects",
    "detections",
    "right",
    *MEASURES,
)

Counts = Mapping[str, FoundClass]
Curve = Mapping[int, Sequence[Counts]]
"""By step, the counts of every run of a row that was judged there, by class."""


def write_curves(results: SuiteResults, folder: Path, network: Network) -> list[Path]:
    """Write the three measures over the steps, if runs were judged on the way; return the paths.

    The picture comes first, found-NETWORK.png, then its numbers, found-NETWORK.csv. A point is over
    the runs of a row that were judged at its step.
    """
    curves = curves_of(results, network)
    if not judged_on_the_way(curves):
        return []
    picture, numbers = (folder / f"found-{network}.{ending}" for ending in ("png", "csv"))
    with whole_file(picture) as temporary:
        draw_curves(results, curves, network).savefig(temporary, dpi=_DPI)
    write_whole(numbers, curves_csv(results, curves, network))
    return [picture, numbers]


def curves_of(results: SuiteResults, network: Network) -> dict[str, Curve]:
    """Return the counts of every row that has some, by key."""
    return {row.key: curve for row in results.rows if (curve := _curve(row, network))}


def judged_on_the_way(curves: Mapping[str, Curve]) -> bool:
    """Return whether a row was judged at more than one step, so that there is a line to draw."""
    return any(len(curve) > 1 for curve in curves.values())


def draw_curves(results: SuiteResults, curves: Mapping[str, Curve], network: Network) -> Figure:
    """Return a figure with the measures in rows and the classes in columns.

    Args:
        results: names rows and classes.
        curves: by row; rows without one are left out.
        network: whose.
    """
    names = results.suite.class_names
    figure = Figure(figsize=(2.0 * len(names) + 1, 7.5), layout="constrained")
    panels = figure.subplots(len(MEASURES), len(names), squeeze=False, sharex=True)
    drawn = [
        (row, line_style(results, index), sums(curves[row.key]))
        for index, row in enumerate(results.rows)
        if row.key in curves
    ]
    for line, measure in zip(panels, MEASURES, strict=True):
        for axes, name in zip(line, names, strict=True):
            for row, style, steps in drawn:
                known = [
                    (step, value)
                    for step, found in steps.items()
                    if name in found and (value := found[name].value(measure)) is not None
                ]
                axes.plot(
                    [step for step, _ in known],
                    [value for _, value in known],
                    marker=".",
                    label=named(results, row, network),
                    **style,
                )
            axes.set_ylim(bottom=0)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(measure)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name, fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("step", fontsize=8)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(
        f"{results.suite.title}: what is found above a score of {SCORE} at scale "
        f"{results.scale.name}, {how_judged(results, PROTOCOL, network)}".replace(
            "last step", "by step"
        ),
        fontsize=10,
    )
    return figure


def curves_csv(results: SuiteResults, curves: Mapping[str, Curve], network: Network) -> str:
    """Return a line for every row, step and class: counts over its n runs, and the measures.

    A measure that cannot be divided is left empty.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in results.rows:
        curve = curves.get(row.key, {})
        whose = row.judged(network)
        facts = (results.suite.name, results.scale.name, row.key, row.label, whose)
        for step, found in sums(curve).items():
            for name, counts in found.items():
                runs = sum(name in part for part in curve[step])
                counted = (counts.objects, counts.detections, counts.right)
                values = (counts.value(measure) for measure in MEASURES)
                writer.writerow((*facts, step, name, runs, *counted, *values))
    return out.getvalue()


def _curve(row: RowResult, network: Network) -> dict[int, list[Counts]]:
    """Return what every finished run of a row found, by step."""
    by_step: dict[int, list[Counts]] = {}
    for run in row.runs:
        if run.folder is None or run.evaluation is None:
            continue
        for step in evaluated_steps(run.folder):
            is_last = step == run.evaluation.step
            path = run.folder.evaluation_of(step)
            evaluation = run.evaluation if is_last else read_evaluation(path)
            counts = counts_of(row, evaluation, network)
            if counts:
                by_step.setdefault(step, []).append(counts)
    return by_step


def sums(curve: Curve) -> dict[int, Counts]:
    """Return a row's counts by step, in order, over its runs together."""
    return {step: together(curve[step]) for step in sorted(curve)}
