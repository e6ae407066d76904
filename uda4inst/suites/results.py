"""What the runs of a suite have reached, read from their folders and beside the paper's numbers.

Only finished runs count, by the evaluation of their last step; nothing is selected. Numbers are
per cent, as the paper prints them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any, cast

from uda4inst.classes import THING_NAMES, ThingClasses
from uda4inst.evaluation.basis import Basis
from uda4inst.run_folder.evaluations import last_evaluation
from uda4inst.run_folder.layout import read_command
from uda4inst.run_folder.status import read_status
from uda4inst.suites import intervals
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Bound, Cell, Suite
from uda4inst.suites.expand import run_name
from uda4inst.suites.folder import SuiteFolder, described_cells, open_suite, read_records
from uda4inst.suites.intervals import Interval
from uda4inst.suites.rows import (
    NETWORKS,
    Classes,
    Network,
    ProtocolName,
    RowResult,
    RunResult,
    Statistic,
)
from uda4inst.suites.scales import Scale, find_scale
from uda4inst.tasks.instances import INSTANCES


@dataclass(frozen=True, slots=True)
class SuiteResults:
    """One table with everything there is to say about it.

    Args:
        folder: where it lies.
        suite: its definition.
        scale: how large its runs are.
        cells: scene sets and seeds that were asked for.
        rows: in the order of the definition.
        description: content of suite.yaml.
    """

    folder: Path
    suite: Suite
    scale: Scale
    cells: tuple[Cell, ...]
    rows: tuple[RowResult, ...]
    description: Mapping[str, Any] = field(default_factory=dict)

    @property
    def protocols(self) -> tuple[ProtocolName, ...]:
        """How its runs are judged, the headline's way first."""
        return cast("tuple[ProtocolName, ...]", self.suite.task.protocols)

    @property
    def networks(self) -> tuple[Network, ...]:
        """Networks that a finished run was judged with; all before there is any."""
        judged = {
            name
            for row in self.rows
            for run in row.runs
            if run.evaluation is not None
            for name in run.evaluation.networks
        }
        return tuple(name for name in NETWORKS if name in judged or not judged)

    @property
    def has_paper(self) -> bool:
        """Whether the paper has a number for any row."""
        return any(row.paper for row in self.rows)

    def row(self, key: str) -> RowResult:
        """Return the row of a key."""
        return next(row for row in self.rows if row.key == key)

    def bound(self, row: RowResult, role: Bound) -> RowResult | None:
        """Return the lower or upper end of the gap a row can close; None without one."""
        found = self.suite.bound(row.row, role)
        return next((other for other in self.rows if found and other.key == found.key), None)

    def only(self, rows: Sequence[str], cells: Sequence[Cell]) -> SuiteResults:
        """Return the results of some rows, by key, on some scene sets and seeds."""
        kept = tuple(
            replace(row, runs=tuple(run for run in row.runs if run.cell in cells))
            for row in self.rows
            if row.key in rows
        )
        return replace(self, rows=mark_apart(kept), cells=tuple(cells))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that were asked for."""
        return tuple(dict.fromkeys(cell.seed for cell in self.cells))

    @property
    def scenes(self) -> tuple[int, ...]:
        """Scene sets that were asked for; none where the scale has one data set."""
        return tuple(dict.fromkeys(c.scenes for c in self.cells if c.scenes is not None))

    def difference(
        self,
        row: RowResult,
        other: RowResult,
        network: Network,
        protocol: ProtocolName,
        metric: str,
        classes: Classes = None,
    ) -> Interval | None:
        """Return how much higher a row is than another, in points, with its interval.

        None for rows over different classes, and without runs of both that were judged on the
        same images of one data set.
        """
        if classes is None and row.row.classes != other.row.classes:
            return None
        mine, theirs = (r.scored(network, protocol, metric, classes) for r in (row, other))
        return intervals.difference(mine.within(row.same_images(other)), theirs)

    def share_closed(
        self, row: RowResult, network: Network, protocol: ProtocolName, metric: str | None = None
    ) -> Interval | None:
        """Return `gap_closed` with its interval; None where that is None, and without resamples."""
        low, high = self.bound(row, "lower_bound"), self.bound(row, "upper_bound")
        if low is None or high is None or self.gap_closed(row, network, protocol, metric) is None:
            return None
        metric = metric or self.suite.task.measures[0]
        own, bottom, top = (r.scored(network, protocol, metric) for r in (row, low, high))
        return intervals.share(own.within(row.same_images(low, high)), bottom, top)

    def gap_closed(
        self, row: RowResult, network: Network, protocol: ProtocolName, metric: str | None = None
    ) -> Statistic | None:
        """Return the share of the gap between the bounds that a row closes, in per cent.

        The mean is the share of the mean numbers over the runs that all three rows have, the
        spread that of the single runs' shares. None for the bounds themselves, and where a bound
        is missing or the upper one is not above the lower, by its interval where there is one;
        where the three were not judged on the same images; and at a scale that is a rehearsal.
        """
        bottom, top = self.bound(row, "lower_bound"), self.bound(row, "upper_bound")
        if row.row.role != "row" or bottom is None or top is None or self.scale.rehearsal:
            return None
        metric = metric or self.suite.task.measures[0]
        apart = self.difference(top, bottom, network, protocol, metric)
        if apart is not None and apart.sign <= 0:
            return None
        low, high, own = (part.by_cell(network, protocol, metric) for part in (bottom, top, row))
        shared = row.same_images(bottom, top)
        cells = [cell for cell in own if cell in low and cell in high and cell in shared]
        if not cells:
            return None
        means = [mean(part[cell] for cell in cells) for part in (own, low, high)]
        whole = _share(*means)
        single = [_share(own[cell], low[cell], high[cell]) for cell in cells]
        if whole is None or None in single:
            return None
        shares = [share for share in single if share is not None]
        return Statistic(whole, (min(shares), max(shares)), len(cells))

    def paper_gap_closed(self, row: RowResult, metric: str | None = None) -> float | None:
        """Return the same share of the paper's numbers."""
        ends = self.bound(row, "lower_bound"), self.bound(row, "upper_bound")
        if row.row.role != "row" or None in ends:
            return None
        metric = metric or self.suite.task.measures[0]
        numbers = [
            part.paper.value(metric) if part and part.paper else None for part in (row, *ends)
        ]
        if None in numbers:
            return None
        return _share(*[number for number in numbers if number is not None])


def collect(path: Path) -> SuiteResults:
    """Return what a suite's runs have reached.

    Args:
        path: the suite's folder.

    Raises:
        UserError: it is not a suite's folder, or a result in it is damaged.
    """
    folder, description = open_suite(path)
    suite = SUITES[description["suite"]]
    scale = find_scale(description["scale"])
    cells = described_cells(description)
    records = read_records(folder)
    runs = {
        row.key: tuple(_read(folder, run_name(row.run_key, cell), cell, records) for cell in cells)
        for row in suite.rows
        if row.benchmark in scale.presets
    }
    suite = suite.with_own(_own_classes(suite, [run for of_row in runs.values() for run in of_row]))
    rows = [
        RowResult(row, runs.get(row.key, ()), row.key in runs, suite.task) for row in suite.rows
    ]
    return SuiteResults(path, suite, scale, cells, mark_apart(rows), description)


def _own_classes(suite: Suite, runs: Sequence[RunResult]) -> tuple[str, ...]:
    """Return the classes of one's own that runs were judged on, in the order of their numbers."""
    if suite.task is not INSTANCES:
        return ()
    judged = (name for run in runs if run.evaluation for name in run.evaluation.class_names)
    return ThingClasses.said([n for n in dict.fromkeys(judged) if n not in THING_NAMES]).own


def mark_apart(rows: Sequence[RowResult]) -> tuple[RowResult, ...]:
    """Return rows of which those judged on other images than most beside them are marked.

    Beside each other stand the runs of one benchmark on one scene set.
    """
    groups: dict[tuple[str, int | None], list[Basis]] = {}
    for row in rows:
        for run in row.finished:
            groups.setdefault((row.row.benchmark, run.cell.scenes), []).append(run.basis)
    usual = {key: Counter(bases).most_common(1)[0][0] for key, bases in groups.items()}
    return tuple(
        replace(
            row,
            is_apart=any(
                run.basis != usual[row.row.benchmark, run.cell.scenes] for run in row.finished
            ),
        )
        for row in rows
    )


def _read(
    folder: SuiteFolder, name: str, cell: Cell, records: Mapping[str, Sequence[Mapping[str, Any]]]
) -> RunResult:
    """Return one run as its folder shows it."""
    run = folder.run(name)
    if not run.config.is_file():
        return RunResult(name, cell)
    status, command = read_status(run), read_command(run)
    is_finished = status is not None and status.state == "finished"
    ended = (r for r in records.get(name, ()) if r.get("end") == "finished")
    places = [str(record.get("hardware", "")) for record in ended]
    return RunResult(
        name,
        cell,
        state=status.state if status else "begun",
        step=status.step if status else 0,
        evaluation=last_evaluation(run) if is_finished else None,
        commit=" to ".join(command.commits),
        time=command.time,
        hardware=places[-1] if places else "",
        folder=run,
    )


def _share(value: float, low: float, high: float) -> float | None:
    """Return where a value lies between two others, in per cent; None when they are no gap."""
    return 100 * (value - low) / (high - low) if high > low else None
