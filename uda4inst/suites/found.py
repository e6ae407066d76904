"""What the rows of a suite find above one score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from uda4inst.evaluation.found import MEASURES, SCORE, FoundClass, read_found
from uda4inst.run_folder.evaluations import Evaluation
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import Network, ProtocolName, RowResult
from uda4inst.suites.tables import NOTHING, Table, how_judged, named

PROTOCOL: Final[ProtocolName] = "cityscapes"


def found_of(row: RowResult, network: Network) -> dict[str, FoundClass]:
    """Return a row's counts by class, over its finished runs together; none where they have none.

    Runs judged on the same images count each for itself, so the shares are means over runs weighted
    by what there is to find.
    """
    return together(_counted(row, network))


def counted_runs(row: RowResult, network: Network) -> int:
    """Return how many of a row's runs have counts: those of earlier versions have none."""
    return len(_counted(row, network))


def _counted(row: RowResult, network: Network) -> list[dict[str, FoundClass]]:
    ends = [run.evaluation for run in row.runs if run.evaluation is not None]
    return [counts for end in ends if (counts := counts_of(row, end, network))]


def found_table(results: SuiteResults, network: Network) -> Table | None:
    """Return precision, recall and detections an object by class; None where no run has counts."""
    names = results.suite.class_names
    by_row = [(row, found_of(row, network)) for row in results.rows]
    lines = [
        (
            named(results, row, network),
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
    title = f"Found above a score of {SCORE}, {how_judged(results, PROTOCOL, network)}"
    return Table(title, ("", *names, "n"), tuple(lines), (note,))


def counts_of(row: RowResult, evaluation: Evaluation, network: Network) -> dict[str, FoundClass]:
    """Return the counts by class of one evaluation of a row's run; none where it has none."""
    judged = row.judged_network(evaluation, network)
    return read_found(evaluation.results.get(judged, {}).get(PROTOCOL, {}))


def together(parts: Sequence[Mapping[str, FoundClass]]) -> dict[str, FoundClass]:
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
