"""Which snapshots of a run a session of what training saw holds, and what it is called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from uda4inst.classes import ThingClasses
from uda4inst.data.files.cache import fingerprint
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import (
    MODULES,
    RunDir,
    numbered,
    read_command,
    read_config_values,
)
from uda4inst.run_folder.metrics import MetricsReader
from uda4inst.run_folder.snapshot_format import ARRAYS, FACTS
from uda4inst.structures import Labels
from uda4inst.tasks import TASKS
from uda4inst.tasks.instances import INSTANCES
from workbench.sessions.request import plain, spread
from workbench.stores.groups import groups_in

# Of these data sets in FiftyOne: another number has them built anew.
FORMATS: Final[Mapping[Labels, int]] = {"instances": 1, "semantic": 2}
Metrics = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a run and its snapshots: a run has one, or one for each category group.

    Args:
        run: its run folder.
        group: of its classes, as its folder is called; empty where it learns all.
    """

    run: RunDir
    group: str


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """A snapshot on the disk.

    Args:
        run: of the network.
        group: see `Network`.
        step: which.
        metrics: what was logged of the step; None where nothing was.
        fingerprint: changes with the files and the metrics.
    """

    run: RunDir
    group: str
    step: int
    metrics: Metrics | None
    fingerprint: str

    @property
    def key(self) -> str:
        """How it is told from the run's other snapshots."""
        return snapshot_key(self.group, self.step)


def snapshot_key(group: str, step: int) -> str:
    """Return how a snapshot is told from the others of a run.

    Example:
        >>> snapshot_key("", 20), snapshot_key("car-truck", 20)
        ('step 20', 'car-truck, step 20')
    """
    return f"{group}, step {step}" if group else f"step {step}"


def run_title(run: RunDir) -> str:
    """Return what a run is called, for people; a network of one category group has its run's name.

    Example:
        >>> run_title(RunDir(Path("runs/demo"))), run_title(RunDir(Path("runs/demo/modules/car")))
        ('demo', 'demo car')
    """
    folder = run.path.absolute()
    if folder.parent.name == MODULES:
        return f"{folder.parent.parent.name} {folder.name}"
    return folder.name


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """What training saw of one run.

    Args:
        run: of one network or of several category groups, or a module of such a run.
        target_labels: whether labels of target crops are shown, as diagnostics.
        limit: snapshots of each network, spread evenly; None for all there are.
        step: the one snapshot that is looked for, so that others need not be read; None for all.
    """

    run: RunDir
    target_labels: bool = False
    limit: int | None = None
    step: int | None = None

    @property
    def title(self) -> str:
        """What it is called, for people."""
        return run_title(self.run)

    def name(self) -> str:
        """Return the data set's name in FiftyOne: the same for the same run alone."""
        facts = repr((str(self.run.path.resolve()), self.target_labels, self.limit)).encode()
        return f"training-{plain(self.title)}-{hashlib.sha256(facts).hexdigest()[:8]}"

    def identity(self) -> str:
        """Return what changes when another run takes the folder: not when it goes on."""
        runs = [network.run for network in self.networks()]
        made = FORMATS[self.labels()]
        return repr([made, *(read_command(run).time for run in (self.run, *runs))])

    def labels(self) -> Labels:
        """Return what the run learns: instances where its configuration does not say."""
        model = read_config_values(self.run.config).get("model")
        preset = model.get("preset") if isinstance(model, Mapping) else None
        task = next((task for task in TASKS.values() if preset in task.presets), INSTANCES)
        return task.labels

    def things(self) -> ThingClasses:
        """Return the classes of the run's objects; the eight where it does not say."""
        method = read_config_values(self.run.config).get("method")
        return ThingClasses.said(method.get("own_classes") if isinstance(method, Mapping) else None)

    def networks(self) -> list[Network]:
        """Return the networks of the run."""
        groups = groups_in(self.run, read_config_values(self.run.config))
        return [Network(self.run.module(group), group) for group in groups] or [
            Network(self.run, "")
        ]

    def places(self) -> list[SnapshotPlace]:
        """Return the snapshots to hold, oldest first.

        Raises:
            UserError: there are none, or not the one looked for.
        """
        steps = {network: numbered(network.run.snapshots) for network in self.networks()}
        every = sorted({step for known in steps.values() for step in known})
        if not every:
            raise UserError(
                f"RUN must have snapshots of what training saw, got none ({self.run.path}). They "
                "are written while it trains (training.snapshot_every)."
            )
        if self.step is not None and self.step not in every:
            raise UserError(
                f"--step must be one of the snapshots of {self.title!r} "
                f"({', '.join(map(str, every))}), got {self.step}. Choose one of them."
            )
        found = [
            place
            for network, known in steps.items()
            for place in _places(network, self._chosen(known))
        ]
        return sorted(found, key=lambda place: place.step)

    def _chosen(self, known: list[int]) -> list[int]:
        if self.step is not None:
            return [self.step] if self.step in known else []
        return [known[place] for place in spread(len(known), self.limit)]


def _places(network: Network, steps: list[int]) -> list[SnapshotPlace]:
    """Return the snapshots of a network, without those that have just made room for newer ones."""
    logged = read_metrics(network.run.metrics, steps)
    found = []
    for step in steps:
        folder, metrics = network.run.snapshot_of(step), logged.get(step)
        try:
            facts = fingerprint([folder / FACTS, folder / ARRAYS], metrics is not None)
        except FileNotFoundError:
            continue
        found.append(SnapshotPlace(network.run, network.group, step, metrics, facts))
    return found


def read_metrics(path: Path, steps: list[int]) -> dict[int, Metrics]:
    """Return what was logged of some steps; steps of which nothing was are left out."""
    wanted = set(steps)
    return {step: line for step, line in MetricsReader(path).read_new().lines if step in wanted}
