"""How many pseudo-labels the teacher gives as self-training goes on: is it followed too far?"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean

from uda4inst.run_folder.pseudo_labels import STEPS, Thirds
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import RowResult
from uda4inst.suites.tables import NOTHING, Table, named


def followed_of(row: RowResult) -> dict[str, Thirds]:
    """Return pseudo-labels for 100 steps by class, in thirds of self-training.

    The mean over the finished runs of the row; none where these have no pseudo-labels of instances,
    or kept no metrics.
    """
    runs = _counted(row)
    names = dict.fromkeys(name for run in runs for name in run)
    return {
        name: tuple(mean(part) for part in zip(*(r[name] for r in runs if name in r), strict=True))
        for name in names
    }


def followed_runs(row: RowResult) -> int:
    """Return how many of a row's runs have such counts."""
    return len(_counted(row))


def followed_table(results: SuiteResults) -> Table | None:
    """Return the pseudo-labels of every row and class as they change; None where there are none."""
    names = results.suite.class_names
    lines = [
        (named(results, row), *(_cell(found.get(name)) for name in names), str(followed_runs(row)))
        for row in results.rows
        if (found := followed_of(row))
    ]
    if not lines:
        return None
    note = (
        f"How many in {STEPS} steps of self-training, each as many crops as the batch is large: in "
        "the first, the second and the last third of them, by the metrics of the n runs of a row "
        "that kept them."
    )
    title = "Pseudo-labels as training goes on, the teacher's on training crops of the target"
    return Table(title, ("", *names, "n"), tuple(lines), (note,))


def _counted(row: RowResult) -> list[Mapping[str, Thirds]]:
    return [run.pseudo_labels for run in row.finished if run.pseudo_labels]


def _cell(found: Thirds | None) -> str:
    return NOTHING if found is None else " → ".join(f"{count:.0f}" for count in found)
