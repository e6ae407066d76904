"""Suites of instances and of semantic maps in one table: IoU of the eight thing classes by pixels.

Instances are painted by score (`evaluation/thing_pixels.py`), what a semantic network says beside
things is "other", and both are judged on the same images. What is compared is which pixels are a
person, a car, ...: nothing of how instances are told apart, nothing of the other classes. Networks,
starts and what they learn from differ, so a row's share of the gap is of its own suite's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import Basis, count_together
from uda4inst.evaluation.thing_pixels import PROTOCOL
from uda4inst.run_folder.evaluations import Evaluation
from uda4inst.suites.definition import Cell
from uda4inst.suites.report import markdown_table, write_texts
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import RowResult, RunResult
from uda4inst.suites.tables import NOTHING, Table, provenance
from uda4inst.tasks.instances import INSTANCES
from uda4inst.training.config import load_config

CSV_COLUMNS: Final = (
    *("suite", "scale", "row", "label", "role", "predicts", "network", "scenes", "seed", "images"),
    *("mIoU_things", *THING_NAMES),
)
_NETWORK: Final = "student"


@dataclass(frozen=True, slots=True, eq=False)
class ThingRow:
    """A row of one of the suites.

    Args:
        results: its suite.
        row: the row.
        preset: of its network.
        by_cell: IoU of every thing class in per cent, None where nothing is of it, by scene set and
            seed; of the cells that all suites have.
    """

    results: SuiteResults
    row: RowResult
    preset: str
    by_cell: dict[Cell, tuple[float | None, ...]]

    @property
    def predicts(self) -> str:
        """What its network predicts, in words."""
        return "instances" if self.results.suite.task is INSTANCES else "semantic maps"

    @property
    def means(self) -> dict[Cell, float]:
        """Mean over the classes, by scene set and seed."""
        return {cell: _mean(values) for cell, values in self.by_cell.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Things:
    """Several suites' rows.

    Args:
        rows: in the order of the suites and their tables.
        images: how many were judged, in words.
    """

    rows: tuple[ThingRow, ...]
    images: str

    def share_closed(self, row: ThingRow) -> float | None:
        """Return the row's share of the gap between its suite's bounds, per cent; None without.

        Of the scene sets and seeds that all three have; of a rehearsal none is said.
        """
        if row.results.scale.rehearsal:
            return None
        of = row.row.row
        bounds: list[ThingRow] = []
        for role in ("lower_bound", "upper_bound"):
            bounds += [
                one
                for one in self.rows
                if one.results is row.results
                and (one.row.row.role, one.row.row.benchmark) == (role, of.benchmark)
            ][:1]
        if row in bounds or len(bounds) < 2:
            return None
        three = [one.means for one in (bounds[0], row, bounds[1])]
        cells = set.intersection(*map(set, three))
        if not cells:
            return None
        lower, own, upper = (mean(means[cell] for cell in cells) for means in three)
        return 100 * (own - lower) / (upper - lower) if upper > lower else None


def compare_things(suites: Sequence[SuiteResults]) -> Things:
    """Return the rows of suites as far as their runs were judged on the same images.

    Args:
        suites: from `results.collect`; two or more.

    Raises:
        UserError: a suite has no such score, or they have no scene set and seed in common that were
            judged on the same images.
    """
    judged = [_judged(results) for results in suites]
    for results, rows in zip(suites, judged, strict=True):
        if not rows:
            raise UserError(_without_scores(results))
    bases = [
        {(cell, run.basis) for _, runs in rows for cell, run in runs.items()} for rows in judged
    ]
    shared = {
        cell: basis
        for cell, basis in bases[0]
        if all(any(c == cell and basis.is_same_as(b) for c, b in other) for other in bases)
    }
    if not shared:
        raise UserError(
            "suites must have a scene set and seed in common, judged on the same images, got none: "
            + "; ".join(f"{r.folder}: {_told(of)}" for r, of in zip(suites, bases, strict=True))
            + ". Run them with equal --scenes and --seeds."
        )
    found: list[ThingRow] = []
    for results, rows in zip(suites, judged, strict=True):
        for row, runs in rows:
            kept = {
                cell: run
                for cell, run in runs.items()
                if cell in shared and run.basis.is_same_as(shared[cell])
            }
            if kept:
                values = {cell: _scores(results, run) or () for cell, run in kept.items()}
                found.append(ThingRow(results, row, _preset(kept.values()), values))
    return Things(tuple(found), count_together(shared.values()))


def _judged(results: SuiteResults) -> list[tuple[RowResult, dict[Cell, RunResult]]]:
    """Return a suite's rows of all thing classes with the runs that were judged by them."""
    rows = [row for row in results.rows if set(THING_NAMES) <= set(row.row.classes)]
    found = [
        (row, {run.cell: run for run in row.finished if _scores(results, run) is not None})
        for row in rows
    ]
    return [(row, runs) for row, runs in found if runs]


def write_things(things: Things, folder: Path) -> list[Path]:
    """Write things.md and things.csv; return their paths.

    Raises:
        UserError: the folder cannot be written to.
    """
    return write_texts(folder, {"things.md": markdown(things), "things.csv": csv_text(things)})


def markdown(things: Things) -> str:
    """Return the table as Markdown."""
    header = ("suite", "row", "predicts", "network", "mIoU of things", "gap", "n", *THING_NAMES)
    lines = []
    for one in things.rows:
        found, share = list(one.means.values()), things.share_closed(one)
        lines.append(
            (
                one.results.suite.title,
                one.row.label,
                one.predicts,
                one.preset,
                f"{mean(found):.1f} ({min(found):.1f}–{max(found):.1f})",
                NOTHING if share is None else f"{share:.0f} %",
                str(len(found)),
                *(_of_class(one, place) for place in range(len(THING_NAMES))),
            )
        )
    title = f"Things by pixels, {_NETWORK}, last step, {things.images}"
    suites = {one.results.folder: one.results for one in things.rows}
    notes = [
        "IoU in per cent over the pixels that Cityscapes' semantic evaluation judges: the mean "
        "over n runs with the smallest and the largest in brackets. Instances above a score of .5 "
        "are painted, the surest on top. Gap: (row - source only) / (upper bound - source only) of "
        "the same suite. Networks, starts, steps and labels differ between suites; nothing is said "
        "of how instances are told apart, and no interval is taken between suites.",
        *(f"{r.suite.title}. {r.scale.text.strip()} {provenance(r)}" for r in suites.values()),
    ]
    if any(one.results.scale.rehearsal for one in things.rows):
        notes.insert(0, "A rehearsal: its numbers mean nothing.")
    return "\n\n".join([f"# {title}", markdown_table(Table(title, header, tuple(lines))), *notes])


def csv_text(things: Things) -> str:
    """Return a line a run, all digits, per cent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for one in things.rows:
        row, results = one.row.row, one.results
        images = {run.cell: run.basis.images for run in one.row.finished}
        for cell, values in one.by_cell.items():
            scenes = "" if cell.scenes is None else cell.scenes
            writer.writerow(
                (
                    *(results.suite.name, results.scale.name, row.key, row.label, row.role),
                    *(one.predicts, one.preset, scenes, cell.seed, images[cell]),
                    *(_mean(values), *("" if value is None else value for value in values)),
                )
            )
    return out.getvalue()


def _scores(results: SuiteResults, run: RunResult) -> tuple[float | None, ...] | None:
    """Return a run's IoU by thing class, per cent; None where it was not judged so."""
    found = run.evaluation
    protocol = PROTOCOL if results.suite.task is INSTANCES else results.suite.task.protocols[0]
    if found is None or not found.has(_NETWORK, protocol):
        return None
    values = [_value(found, protocol, name) for name in THING_NAMES]
    return tuple(values) if any(value is not None for value in values) else None


def _value(found: Evaluation, protocol: str, name: str) -> float | None:
    value = found.value(_NETWORK, protocol, "IoU", name)
    return None if value is None else 100 * value


def _mean(values: Iterable[float | None]) -> float:
    return mean(value for value in values if value is not None)


def _of_class(one: ThingRow, place: int) -> str:
    values = [v for line in one.by_cell.values() if (v := line[place]) is not None]
    return f"{mean(values):.1f}" if values else NOTHING


def _preset(runs: Iterable[RunResult]) -> str:
    """Return the network's preset as the runs' configurations have it."""
    folders = (run.folder for run in runs if run.folder is not None)
    found = dict.fromkeys(load_config(folder.config).model.preset for folder in folders)
    return " and ".join(found)


def _without_scores(results: SuiteResults) -> str:
    message = f"suite must have finished runs judged by thing classes, got none ({results.folder})."
    if results.suite.task is not INSTANCES:
        return f"{message} Finish it first."
    return f"{message} Start it with --set evaluation.protocols=[cityscapes,{PROTOCOL}]."


def _told(bases: Iterable[tuple[Cell, Basis]]) -> str:
    """Return which scene sets and seeds, and how many images of them, in words."""
    found = sorted(bases, key=lambda one: (one[0].scenes or 0, one[0].seed))
    cells = dict.fromkeys(
        f"seed {cell.seed}" if cell.scenes is None else f"scenes {cell.scenes} seed {cell.seed}"
        for cell, _ in found
    )
    return f"{', '.join(cells)} ({count_together(basis for _, basis in found)})"
