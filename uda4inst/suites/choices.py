"""Does what is measured without labels go with true AP? Rank correlation over a suite's runs.

Every finished run counts once, by its last checkpoint. The upper bound is listed and not counted:
it has seen the target's labels.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from scipy.stats import spearmanr

from uda4inst.errors import UserError
from uda4inst.run_folder.choices import ChoiceLine, Criterion, read_choice
from uda4inst.suites.definition import Cell, Row
from uda4inst.suites.folder import SuiteFolder
from uda4inst.suites.report import markdown_table, write_texts
from uda4inst.suites.results import collect
from uda4inst.suites.rows import PROTOCOLS, Network, RowResult, RunResult
from uda4inst.suites.tables import NOTHING, Table, how_judged
from uda4inst.tasks.instances import INSTANCES

# Fewer runs have no rank correlation worth printing.
MIN_RUNS: Final = 4
CRITERIA: Final[tuple[Criterion, ...]] = ("agreement", "stability")
CSV_COLUMNS: Final = (
    "suite",
    "scale",
    "row",
    "role",
    "run",
    "scenes",
    "seed",
    "step",
    "network",
    "images",
    "threshold",
    "agreement",
    "agreement_f1",
    "stability",
    "stability_f1",
    "pseudo_labels",
    "ap",
    "ap_network",
)


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """The last checkpoint of a finished run.

    Args:
        row: the row it belongs to.
        name: of its folder.
        cell: its scene set and seed.
        images: how many were looked at.
        lines: what was measured, one a threshold.
        ap: true AP, per cent, over the row's classes.
        ap_network: of the network that labels; of the student where that was not judged.
    """

    row: Row
    name: str
    cell: Cell
    images: int
    lines: tuple[ChoiceLine, ...]
    ap: float | None
    ap_network: Network

    @property
    def is_of_another(self) -> bool:
        """Whether AP is not that of the network that labels."""
        return self.ap is not None and self.ap_network != self.lines[0].network


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation with true AP.

    Args:
        rho: in [-1, 1]; None below four runs, and where all runs have one value.
        n: runs with both numbers.
    """

    rho: float | None
    n: int


@dataclass(frozen=True, slots=True)
class SuiteChoices:
    """What was measured of a suite's finished runs.

    Args:
        folder: where it lies.
        suite: its name.
        scale: its scale's.
        title: for people.
        judged: how their true AP was come by, in words.
        runs: in the order of the rows.
        unmeasured: finished runs without a choice, or with one of an earlier step.
    """

    folder: SuiteFolder
    suite: str
    scale: str
    title: str
    judged: str
    runs: tuple[MeasuredRun, ...]
    unmeasured: tuple[str, ...]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Those that any run was measured at, rising."""
        return tuple(sorted({line.threshold for run in self.runs for line in run.lines}))

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows with a run that counts."""
        found = {run.row.key: run.row for run in self.runs if run.row.role != "upper_bound"}
        return tuple(found.values())

    def correlation(
        self, criterion: Criterion, threshold: float, row: Row | None = None
    ) -> Correlation:
        """Return how a measure at a threshold goes with AP, over all runs or those of a row."""
        pairs = [
            (value, run.ap)
            for run in self.runs
            for line in run.lines
            if line.threshold == threshold
            and run.row.role != "upper_bound"
            and (row is None or run.row.key == row.key)
            and (value := line.value(criterion)) is not None
            and run.ap is not None
        ]
        return rank_correlation(pairs)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> Correlation:
    """Return Spearman's rank correlation of pairs.

    Example:
        >>> rank_correlation([(0.1, 10), (0.2, 30), (0.3, 20), (0.4, 40)])
        Correlation(rho=0.8, n=4)
    """
    n = len(pairs)
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    if n < MIN_RUNS or len(set(one)) == 1 or len(set(other)) == 1:
        return Correlation(None, n)
    # Ranks are small numbers; what rounding leaves behind is nobody's.
    return Correlation(round(float(cast(tuple[float, float], spearmanr(one, other))[0]), 12), n)


def collect_choices(path: Path) -> SuiteChoices:
    """Return what was measured of a suite's finished runs.

    Args:
        path: the suite's folder.

    Raises:
        UserError: it is no suite's folder or one of semantic maps, no finished run was measured,
            runs were measured on different numbers of images, or a file is damaged.
    """
    results = collect(path)
    if results.suite.task is not INSTANCES:
        raise UserError(
            f"--suite must be one of instance segmentation, got {results.suite.name} ({path})."
        )
    runs: dict[str, MeasuredRun] = {}
    unmeasured: dict[str, None] = {}
    for row in results.rows:
        for run in row.runs:
            if run.evaluation is None or run.folder is None or run.name in runs:
                continue
            measured = _read(row, run)
            if measured is None:
                unmeasured[run.name] = None
            else:
                runs[run.name] = measured
    if not runs:
        raise UserError(
            f"--suite must have finished runs that were measured, got none ({path}). Measure them "
            f"first: uda4inst choose {path}/runs/*"
        )
    apart = [row for row in results.rows if row.is_apart]
    if apart:
        raise UserError(
            "runs must be judged on the same images for their AP to be ranked, got others of "
            f"{', '.join(row.row.label for row in apart)} ({path}). Evaluate them alike."
        )
    counts = sorted({run.images for run in runs.values()})
    if len(counts) > 1:
        raise UserError(
            "runs must be measured on equally many images to be compared, got "
            f"{', '.join(map(str, counts))} ({path}). Measure them again with one --images."
        )
    return SuiteChoices(
        SuiteFolder(path),
        results.suite.name,
        results.scale.name,
        results.suite.title,
        how_judged(results, PROTOCOLS[0], "of the network that labels"),
        tuple(runs.values()),
        tuple(unmeasured),
    )


def _read(row: RowResult, run: RunResult) -> MeasuredRun | None:
    """Return what was measured of a run's last checkpoint; None where that was not."""
    assert run.folder is not None
    assert run.evaluation is not None
    choice = read_choice(run.folder)
    if choice is None or choice.last_step != run.evaluation.step:
        return None
    lines = tuple(line for line in choice.lines if line.step == choice.last_step)
    # What labels is often the teacher, and a suite may have judged the student alone.
    network = cast(Network, lines[0].network)
    ap = _ap(row, run, network)
    if ap is None:
        network, ap = "student", _ap(row, run, "student")
    return MeasuredRun(row.row, run.name, run.cell, choice.images, lines, ap, network)


def _ap(row: RowResult, run: RunResult, network: Network) -> float | None:
    return row.by_cell(network, PROTOCOLS[0], INSTANCES.measures[0]).get(run.cell)


def write_choices(found: SuiteChoices) -> list[Path]:
    """Write choice.csv and choice.md into the suite's report; return their paths.

    Raises:
        UserError: the folder cannot be written to.
    """
    texts = {"choice.md": markdown(found), "choice.csv": csv_text(found)}
    return write_texts(found.folder.report, texts)


def csv_text(found: SuiteChoices) -> str:
    """Return a line a run and threshold, all digits; AP in per cent, the others in [0, 1]."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for run in found.runs:
        cell = run.cell
        for line in run.lines:
            values = (line.agreement, line.agreement_f1, line.stability, line.stability_f1)
            writer.writerow(
                (
                    *(found.suite, found.scale, run.row.key, run.row.role, run.name),
                    *("" if cell.scenes is None else cell.scenes, cell.seed),
                    *(line.step, line.network, run.images, line.threshold),
                    *("" if value is None else value for value in values),
                    line.pseudo_labels,
                    *(("", "") if run.ap is None else (run.ap, run.ap_network)),
                )
            )
    return out.getvalue()


def markdown(found: SuiteChoices) -> str:
    """Return the rank correlations as Markdown."""
    notes = [
        "Spearman's rank correlation over runs of what is measured without labels with true AP "
        f"({found.judged}), at the last checkpoint; in "
        f"brackets the number of runs. {NOTHING}: fewer than {MIN_RUNS}, or all alike. The upper "
        "bound is left out.",
        f"{len(found.runs)} runs were measured, each on {found.runs[0].images} unlabelled images.",
    ]
    others = dict.fromkeys(run.row.label for run in found.runs if run.is_of_another)
    if others:
        notes.append(
            f"The teacher, which labels, was not judged in runs of {', '.join(others)}: their AP "
            "is the student's."
        )
    if found.unmeasured:
        notes.append(f"Finished and not measured: {', '.join(found.unmeasured)}.")
    rows = [
        (
            label,
            criterion,
            *(_shown(found.correlation(criterion, t, row)) for t in found.thresholds),
        )
        for label, row in (("all runs", None), *((row.label, row) for row in found.rows))
        for criterion in CRITERIA
    ]
    header = ("runs", "measure", *(f"> {threshold:g}" for threshold in found.thresholds))
    title = f"{found.title}: choosing without labels"
    table = Table(title, header, tuple(rows))
    return "\n\n".join([f"# {title}", *notes, markdown_table(table)]) + "\n"


def _shown(correlation: Correlation) -> str:
    rho = NOTHING if correlation.rho is None else f"{correlation.rho:.2f}"
    return f"{rho} ({correlation.n})"
