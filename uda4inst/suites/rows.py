"""One row of a table and its runs, as their folders show them. Numbers are per cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean
from typing import Final, Literal

from uda4inst.evaluation.basis import Basis, hash_of_names
from uda4inst.evaluation.resampling import Resampled, read_resampled, resampled_path
from uda4inst.methods import METHODS
from uda4inst.run_folder.evaluations import Evaluation, predictions_file
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.pseudo_labels import Thirds, read_thirds
from uda4inst.suites import intervals
from uda4inst.suites.definition import Cell, Row, classes_of
from uda4inst.suites.intervals import Scored
from uda4inst.suites.paper import PaperNumbers
from uda4inst.tasks.base import Task
from uda4inst.tasks.instances import INSTANCES

Network = Literal["student", "teacher"]
ProtocolName = Literal["cityscapes", "coco", "pixels"]
# What a number is of: None, all classes of a row; one class; the mean of several.
Classes = str | tuple[str, ...] | None
# What a table or chart shows.
View = tuple[ProtocolName, Network]
# Beside the label of a row that was judged on other images.
APART: Final = "†"
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

    @cached_property
    def pseudo_labels(self) -> Mapping[str, Thirds]:
        """What its teacher gave in 100 steps by class, in thirds of self-training; may be empty."""
        return {} if self.folder is None else read_thirds(self.folder)

    @property
    def config_hash(self) -> str:
        """Configuration of the evaluated network; empty unless finished."""
        return self.evaluation.config_hash if self.evaluation else ""

    @property
    def data(self) -> str:
        """What it was evaluated on; empty unless finished."""
        return self.basis.words if self.evaluation else ""

    @cached_property
    def basis(self) -> Basis:
        """The images it was evaluated on; earlier versions have their names by the resamples.

        Raises:
            UserError: a file is damaged.
        """
        if self.evaluation is None:
            return Basis()
        basis = self.evaluation.basis
        kept = next(iter(self.resampled.values()), None) if not basis.names else None
        return basis if kept is None else replace(basis, names=hash_of_names(kept.images))


@dataclass(frozen=True)
class RowResult:
    """One row of a table: the paper's numbers and those of its runs.

    Args:
        row: its definition.
        runs: one a scene set and seed.
        has_data: whether the scale has data for it.
        task: what its runs predict.
        is_apart: whether a run of it was judged on other images than most rows beside it.
    """

    row: Row
    runs: tuple[RunResult, ...]
    has_data: bool = True
    task: Task = INSTANCES
    is_apart: bool = False

    @property
    def key(self) -> str:
        """Its key."""
        return self.row.key

    @property
    def label(self) -> str:
        """As the table shows it, marked where its numbers are not to be held to the others'."""
        return f"{self.row.label} {APART}" if self.is_apart else self.row.label

    def label_for(self, network: Network) -> str:
        """Return the label among numbers of a network; whose they are where it has no such."""
        whose = self.judged(network)
        return self.label if whose == network else f"{self.label} ({whose})"

    def judged(self, network: Network) -> str:
        """Return whose numbers stand among those of a network."""
        ends = [run.evaluation for run in self.finished] or [None]
        return self.judged_network(ends[0], network)

    @property
    def finished(self) -> tuple[RunResult, ...]:
        """Its runs that have a number."""
        return tuple(run for run in self.runs if run.evaluation is not None)

    def same_images(self, *others: RowResult) -> frozenset[Cell]:
        """Return the cells in which it and others are known to be judged on the same images."""
        bases = [{run.cell: run.basis for run in row.finished} for row in (self, *others)]
        own = bases[0]
        return frozenset(
            cell
            for cell, basis in own.items()
            if all(cell in other and basis.is_same_as(other[cell]) for other in bases)
        )

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
        if others == {"finished"} and not finished:
            return "not evaluated: uda4inst evaluate RUN judges a finished run again"
        others = {"finished, not evaluated" if one == "finished" else one for one in others}
        if not finished:
            states = ", ".join(sorted(others))
            return "not run" if others <= {"not run"} else f"not finished ({states})"
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
        names = classes_of(self.task, self.row)
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
        self, network: Network, protocol: ProtocolName, metric: str, classes: Classes = None
    ) -> Statistic | None:
        """Return mean, spread and number of runs; None when no run has the number."""
        return _statistic(list(self.by_cell(network, protocol, metric, classes).values()))

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
        if classes is None and self.row.classes == classes_of(self.task, self.row):
            return _per_cent(found.value(network, protocol, metric))
        names = self.row.classes if classes is None else _listed(classes)
        if not set(names) <= set(self.row.classes):
            return None
        values = [found.value(network, protocol, of_class, name) for name in names]
        parts = [value for value in values if value is not None]
        return 100 * mean(parts) if parts else None


def _listed(classes: str | tuple[str, ...]) -> tuple[str, ...]:
    return (classes,) if isinstance(classes, str) else classes


def _per_cent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _statistic(values: Sequence[float]) -> Statistic | None:
    if not values:
        return None
    return Statistic(mean(values), (min(values), max(values)), len(values))
