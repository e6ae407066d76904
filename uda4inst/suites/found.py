"""What the rows of a suite find above one score: as a table, and over the steps as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from uda4inst.atomic import whole_file
from uda4inst.evaluation.found import MEASURES, SCORE, FoundClass, read_found
from uda4inst.run_folder.evaluations import Evaluation, evaluated_steps, read_evaluation
from uda4inst.suites.figures import color_of
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import Network, ProtocolName, RowResult
from uda4inst.suites.tables import NOTHING, Table, how_judged

_PROTOCOL: Final[ProtocolName] = "cityscapes"
_DPI: Final = 110


def found_of(row: RowResult, network: Network) -> dict[str, FoundClass]:
    """Return a row's counts by class, over its finished runs together; none where they have none.

    Runs judged on the same images count each for itself, so the shares are means over runs weighted
    by what there is to find.
    """
    return _together(_counted(row, network))


def counted_runs(row: RowResult, network: Network) -> int:
    """Return how many of a row's runs have counts: those of earlier versions have none."""
    return len(_counted(row, network))


def _counted(row: RowResult, network: Network) -> list[dict[str, FoundClass]]:
    ends = [run.evaluation for run in row.runs if run.evaluation is not None]
    return [counts for end in ends if (counts := _counts(row, end, network))]


def found_table(results: SuiteResults, network: Network) -> Table | None:
    """Return precision, recall and detections an object by class; None where no run has counts."""
    names = results.suite.class_names
    by_row = [(row, found_of(row, network)) for row in results.rows]
    lines = [
        (
            row.label_for(network),
            *(_cell(found.get(name)) for name in names),
            str(counted_runs(row, network)),
        )
        for row, found in by_row
        if found
    ]
    if not lines:
        return None
    objects = next(found for _, found in by_row if found)
    there = ", ".join(f"{n} {objects[n].objects}" for n in names if n in objects)
    note = (
        f"Detections with a score above {SCORE}, right where IoU is above .5: precision / recall "
        "in per cent, and detections for every object there is, over the n runs of a row that have "
        f"counts together. Objects to find in those of the first: {there}."
    )
    title = f"Found above a score of {SCORE}, {how_judged(results, _PROTOCOL, network)}"
    return Table(title, ("", *names, "n"), tuple(lines), (note,))


def write_curves(results: SuiteResults, folder: Path, network: Network) -> list[Path]:
    """Write the three measures over the steps as found-NETWORK.png, if runs were judged on the way.

    A curve is over the runs of a row that were judged at the step.
    """
    curves = {row.key: _curve(row, network) for row in results.rows}
    if all(len(steps) < 2 for steps in curves.values()):
        return []
    path = folder / f"found-{network}.png"
    with whole_file(path) as temporary:
        draw_curves(results, curves, network).savefig(temporary, dpi=_DPI)
    return [path]


def draw_curves(
    results: SuiteResults,
    curves: Mapping[str, Mapping[int, Mapping[str, FoundClass]]],
    network: Network,
) -> Figure:
    """Return a figure with the measures in rows and the classes in columns.

    Args:
        results: names rows and classes.
        curves: counts by row, step and class.
        network: whose.
    """
    names = results.suite.class_names
    figure = Figure(figsize=(2.0 * len(names) + 1, 7.5), layout="constrained")
    panels = figure.subplots(len(MEASURES), len(names), squeeze=False, sharex=True)
    for line, measure in zip(panels, MEASURES, strict=True):
        for axes, name in zip(line, names, strict=True):
            for index, row in enumerate(results.rows):
                steps = curves[row.key]
                known = [
                    (step, value)
                    for step, found in sorted(steps.items())
                    if name in found and (value := found[name].value(measure)) is not None
                ]
                axes.plot(
                    [step for step, _ in known],
                    [value for _, value in known],
                    marker=".",
                    color=color_of(row, index),
                    label=row.label,
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
        f"{results.scale.name}, {how_judged(results, _PROTOCOL, network)}".replace(
            "last step", "by step"
        ),
        fontsize=10,
    )
    return figure


def _curve(row: RowResult, network: Network) -> dict[int, dict[str, FoundClass]]:
    """Return a row's counts by step, over its finished runs together."""
    by_step: dict[int, list[dict[str, FoundClass]]] = {}
    for run in row.runs:
        if run.folder is None or run.evaluation is None:
            continue
        for step in evaluated_steps(run.folder):
            found = _counts(row, read_evaluation(run.folder.evaluation_of(step)), network)
            by_step.setdefault(step, []).append(found)
    together = {step: _together(parts) for step, parts in by_step.items()}
    return {step: found for step, found in together.items() if found}


def _counts(row: RowResult, evaluation: Evaluation, network: Network) -> dict[str, FoundClass]:
    judged = row.judged_network(evaluation, network)
    return read_found(evaluation.results.get(judged, {}).get(_PROTOCOL, {}))


def _together(parts: Sequence[Mapping[str, FoundClass]]) -> dict[str, FoundClass]:
    """Return the sums by class."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: FoundClass(
            *(
                sum(getattr(part[name], count) for part in parts if name in part)
                for count in ("objects", "detections", "right")
            )
        )
        for name in names
    }


def _cell(found: FoundClass | None) -> str:
    if found is None:
        return NOTHING
    precision, recall, frequency = (found.value(measure) for measure in MEASURES)
    shares = (NOTHING if v is None else f"{100 * v:.0f}" for v in (precision, recall))
    return f"{' / '.join(shares)}, {NOTHING if frequency is None else f'{frequency:.2f}'}"
