"""Sentences about a study's numbers, each true by the interval it names."""

from __future__ import annotations

from uda4inst.evaluation.basis import count_together
from uda4inst.evaluation.protocols import PROTOCOL_NAMES
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import View


def compared(
    results: SuiteResults, row: str, other: str, view: View, classes: tuple[str, ...] | None = None
) -> str:
    """Return how much higher one row is than another, by whose predictions and which protocol.

    With interval, n and the paper's difference.

    Args:
        results: of the suite.
        row: key of the row that is asked about.
        other: key of what it is compared with.
        view: how both were judged, and whose predictions.
        classes: over whose mean; None for all of the rows'.
    """
    mine, theirs = results.row(row), results.row(other)
    metric = results.suite.task.measures[0]
    protocol, network = view
    what = f"**{mine.label_for(network)}** against {theirs.label_for(network)}"
    found = results.difference(mine, theirs, network, protocol, metric, classes)
    paper = "" if classes else _paper(results, row, other, metric)
    measure = f"{PROTOCOL_NAMES[protocol]} {metric}"
    over = f", mean of {' and '.join(classes)}" if classes else ""
    if found is None:
        return f"{what}: no runs of both on the same two images or more. {paper}"
    verdict = {1: "higher", -1: "lower", 0: "no difference can be told"}[found.sign]
    if results.scale.rehearsal:
        verdict = "a rehearsal, which tells nothing"
    bases = [run.basis for run in mine.finished]
    images = count_together(bases) if len(set(bases)) > 1 else bases[0].words
    return (
        f"{what}: {found.value:+.1f} points of {measure}, {network}{over} (95 % interval "
        f"{found.low:+.1f} to {found.high:+.1f}; {found.n} {'run' if found.n == 1 else 'runs'} "
        f"of each; {images}): {verdict}. {paper}".rstrip()
    )


def _paper(results: SuiteResults, row: str, other: str, metric: str) -> str:
    numbers = [results.row(key).paper for key in (row, other)]
    values = [numbers_of.value(metric) if numbers_of else None for numbers_of in numbers]
    if None in values:
        return "The paper has no such pair."
    mine, theirs = (value for value in values if value is not None)
    return f"In the paper: {mine - theirs:+.1f} ({mine:g} and {theirs:g})."


def unable(results: SuiteResults) -> str:
    """Return what a suite's scale, seeds and scene sets leave open."""
    runs = len(results.cells)
    parts = [results.scale.text.strip()]
    if len(results.seeds) == 1:
        parts.append(
            "With one seed the intervals are about the images alone: another training may differ "
            "by more."
        )
    if len(results.scenes) == 1:
        parts.append("One set of scenes: other scenes may differ by more.")
    return f"{' '.join(parts)} ({runs} {'run' if runs == 1 else 'runs'} of each row.)"
