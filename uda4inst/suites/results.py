"""What the runs of a suite have reached, read from their folders and beside the paper's numbers.

Only finished runs count, by the evaluation of their last step; nothing is selected. Numbers are
per cent, as the paper prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any, Final, Literal, cast

from uda4inst.evaluation.resampling import Resampled, read_resampled, resampled_path
from uda4inst.methods import METHODS
from uda4inst.run_folder.evaluations import Evaluation, last_evaluation, predictions_file
from uda4inst.run_folder.layout import RunDir, read_command
from uda4inst.run_folder.status import read_status
from uda4inst.suites import intervals
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Bound, Cell, Row, Suite
from uda4inst.suites.expand import run_name
from uda4inst.suites.folder import SuiteFolder, described_cells, open_suite, read_records
from uda4inst.suites.intervals import Interval, Scored
from uda4inst.suites.paper import PaperNumbers
from uda4inst.suites.scales import Scale, find_scale
from uda4inst.tasks.base import Task
from uda4inst.tasks.instances import INSTANCES

Network = Literal["student", "teacher"]
ProtocolName = Literal["cityscapes", "coco", "pixels"]
# What a number is of: None, all classes of a row; one class; the mean of several.
Classes = str | tuple[str, ...] | None
# What a table or chart shows.
View = tuple[ProtocolName, Network]
NETWORKS: Final[tuple[Network, ...]] = ("student", "teacher")
PROTOCOLS: Final[tuple[ProtocolName, ...]] = ("cityscapes", "coco")


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number over scene sets and seeds.

    Args:
        mean: over all of them.
        spread: smallest and largest.
        n: runs.
    """

    mean: float
    spread: tuple[float, float]
    n: int


@dataclass(frozen=True)
class RunResult:
    """One run of a row.

    Args:
        name: of its folder.
        cell: its scene set and seed.
        state: finished, or what it is instead; "not run" when there is no run.
        step: steps done.
        evaluation: the last evaluation; None unless finished.
        commit: of the code that began it.
        time: when it was begun.
        hardware: where it computed, when the suite's records tell.
        folder: its folder, when it is there.
    """

    name: str
    cell: Cell
    state: str = "not run"
    step: int = 0
    evaluation: Evaluation | None = None
    commit: str = ""
    time: str = ""
    hardware: str = ""
    folder: RunDir | None = None

    @cached_property
    def resampled(self) -> Mapping[str, Resampled]:
        """Scores by resample of the evaluated networks; those of earlier versions have none.

        Raises:
            UserError: a file is damaged.
        """
        if self.evaluation is None or self.folder is None:
            return {}
        paths = {
            network: resampled_path(predictions_file(self.folder, self.evaluation.step, network))
            for network in self.evaluation.networks
        }
        return {name: read_resampled(path) for name, path in paths.items() if path.is_file()}

    @property
    def config_hash(self) -> str:
        """Configuration of the evaluated network; empty unless finished."""
        return self.evaluation.config_hash if self.evaluation else ""

    @property
    def data(self) -> str:
        """What it was evaluated on; empty unless finished."""
        found = self.evaluation
        return f"{found.dataset}, {found.split}, {found.images} images" if found else ""


@dataclass(frozen=True)
class RowResult:
    """One row of a table: the paper's numbers and those of its runs.

    Args:
        row: its definition.
        runs: one a scene set and seed.
        has_data: whether the scale has data for it.
        task: what its runs predict.
    """

    row: Row
    runs: tuple[RunResult, ...]
    has_data: bool = True
    task: Task = INSTANCES

    @property
    def key(self) -> str:
        """Its key."""
        return self.row.key

    @property
    def label(self) -> str:
        """As the table shows it."""
        return self.row.label

    @property
    def paper(self) -> PaperNumbers | None:
        """The paper's numbers."""
        return self.row.paper

    @property
    def state(self) -> str:
        """How many of its runs are finished, in words."""
        if not self.has_data:
            return "not run: no data of this source at this scale"
        finished = sum(run.evaluation is not None for run in self.runs)
        if finished == len(self.runs) > 0:
            return "finished"
        others = {run.state for run in self.runs if run.evaluation is None}
        if not finished:
            return "not run" if others <= {"not run"} else f"not finished ({', '.join(others)})"
        return f"{finished} of {len(self.runs)} runs"

    def by_cell(
        self, network: Network, protocol: ProtocolName, metric: str, classes: Classes = None
    ) -> dict[Cell, float]:
        """Return a number of every finished run, in per cent, by scene set and seed.

        Args:
            network: student or teacher; rows without a teacher give their student's.
            protocol: one of the task's.
            metric: one of the task's measures.
            classes: whose; the mean of several only where the row has them all.
        """
        values: dict[Cell, float] = {}
        for run in self.runs:
            value = self._value(run, network, protocol, metric, classes)
            if value is not None:
                values[run.cell] = value
        return values

    def scored(
        self, network: Network, protocol: ProtocolName, metric: str, classes: Classes = None
    ) -> Scored:
        """Return a number of every finished run with its resamples, by the headline's protocol.

        Args:
            network: see `by_cell`.
            protocol: others than the task's first have no resamples.
            metric: see `by_cell`.
            classes: see `by_cell`.

        Raises:
            UserError: a file is damaged.
        """
        names = self.task.class_names
        chosen = self.row.classes if classes is None else _listed(classes)
        column = intervals.ColumnOf(
            self.task.measures.index(metric),
            () if chosen == names else tuple(names.index(name) for name in chosen),
        )
        is_headline = protocol == self.task.protocols[0]
        resamples = {
            run.cell: run.resampled.get(self.judged_network(run.evaluation, network))
            for run in self.runs
        }
        return intervals.scored(
            self.by_cell(network, protocol, metric, classes),
            {cell: found for cell, found in resamples.items() if found is not None and is_headline},
            column,
        )

    def statistic(
        self, network: Network, protocol: ProtocolName, metric: str, class_name: str | None = None
    ) -> Statistic | None:
        """Return mean, spread and number of runs; None when no run has the number."""
        return _statistic(list(self.by_cell(network, protocol, metric, class_name).values()))

    def judged_network(self, evaluation: Evaluation | None, network: str) -> str:
        """Return the network that stands for one that the row's method does not have."""
        method = METHODS.get(self.row.settings.get("method.name", ""))
        known = evaluation.networks if evaluation else ()
        if network not in known and method and network not in method.networks:
            return method.networks[0]
        return network

    def _value(
        self,
        run: RunResult,
        network: str,
        protocol: str,
        metric: str,
        classes: Classes,
    ) -> float | None:
        found = run.evaluation
        if found is None:
            return None
        network = self.judged_network(found, network)
        of_class = dict(zip(self.task.measures, self.task.class_measures, strict=True))[metric]
        if classes is None and self.row.classes == self.task.class_names:
            return _per_cent(found.value(network, protocol, metric))
        names = self.row.classes if classes is None else _listed(classes)
        if not set(names) <= set(self.row.classes):
            return None
        values = [found.value(network, protocol, of_class, name) for name in names]
        parts = [value for value in values if value is not None]
        return 100 * mean(parts) if parts else None


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
        return self.row(found.key) if found else None

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
        same images.
        """
        if classes is None and row.row.classes != other.row.classes:
            return None
        mine, theirs = (r.scored(network, protocol, metric, classes) for r in (row, other))
        return intervals.difference(mine, theirs)

    def share_closed(
        self, row: RowResult, network: Network, protocol: ProtocolName, metric: str | None = None
    ) -> Interval | None:
        """Return `gap_closed` with its interval; None where that is None, and without resamples."""
        low, high = self.bound(row, "lower_bound"), self.bound(row, "upper_bound")
        if row.row.role != "row" or low is None or high is None:
            return None
        metric = metric or self.suite.task.measures[0]
        own, bottom, top = (r.scored(network, protocol, metric) for r in (row, low, high))
        return intervals.share(own, bottom, top)

    def gap_closed(
        self, row: RowResult, network: Network, protocol: ProtocolName, metric: str | None = None
    ) -> Statistic | None:
        """Return the share of the gap between the bounds that a row closes, in per cent.

        The mean is the share of the mean numbers over the runs that all three rows have, the
        spread that of the single runs' shares. None for the bounds themselves, and where a bound
        is missing or the upper one is not above the lower.
        """
        ends = self.bound(row, "lower_bound"), self.bound(row, "upper_bound")
        if row.row.role != "row" or None in ends:
            return None
        metric = metric or self.suite.task.measures[0]
        low, high, own = (
            part.by_cell(network, protocol, metric) for part in (*ends, row) if part is not None
        )
        cells = [cell for cell in own if cell in low and cell in high]
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
    rows = []
    for row in suite.rows:
        has_data = row.benchmark in scale.presets
        runs = [
            _read(folder, run_name(row.run_key, cell), cell, records) if has_data else None
            for cell in cells
        ]
        rows.append(RowResult(row, tuple(run for run in runs if run), has_data, suite.task))
    return SuiteResults(path, suite, scale, cells, tuple(rows), description)


def _read(
    folder: SuiteFolder, name: str, cell: Cell, records: Mapping[str, Sequence[Mapping[str, Any]]]
) -> RunResult:
    """Return one run as its folder shows it."""
    run = folder.run(name)
    if not run.config.is_file():
        return RunResult(name, cell)
    status, command = read_status(run), read_command(run)
    is_finished = status is not None and status.state == "finished"
    places = [r["hardware"] for r in records.get(name, ()) if r.get("end") == "finished"]
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


def _listed(classes: str | tuple[str, ...]) -> tuple[str, ...]:
    return (classes,) if isinstance(classes, str) else classes


def _per_cent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _share(value: float, low: float, high: float) -> float | None:
    """Return where a value lies between two others, in per cent; None when they are no gap."""
    return 100 * (value - low) / (high - low) if high > low else None


def _statistic(values: Sequence[float]) -> Statistic | None:
    if not values:
        return None
    return Statistic(mean(values), (min(values), max(values)), len(values))
