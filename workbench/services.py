"""What the pages work with: made once in `app.py`, passed in, never global."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.jobs.data_checks import Checks
from workbench.jobs.inspections import Inspections
from workbench.jobs.trainers import Jobs
from workbench.session import SessionState
from workbench.stores.candidates import CandidateStore
from workbench.stores.class_shares import ClassShares
from workbench.stores.data_sets import DataSets
from workbench.stores.evaluations import EvaluationStore
from workbench.stores.groups import module_of
from workbench.stores.metrics import MetricsStore
from workbench.stores.places import Places
from workbench.stores.presets import Presets
from workbench.stores.runs import RunStore
from workbench.stores.snapshots import SnapshotStore
from workbench.stores.speeds import SpeedStore
from workbench.stores.suites import SuiteStore
from workbench.stores.target_crops import TargetLabels


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that reads runs and data sets, or starts processes for them.

    Args:
        runs: run folders and their true state.
        metrics: logged values.
        snapshots: what `prepare` made.
        candidates: their detections, overlaps resolved.
        target_labels: what the pixels of their target crops really are.
        evaluations: stored predictions beside ground truth.
        jobs: training processes.
        presets: configurations to begin with.
        data_sets: the images a session looks at.
        class_shares: how frequent classes are in them.
        checks: what is wrong with them.
        suites: the paper's tables and their runs.
        speeds: how fast networks were measured to be.
        inspections: sessions of FiftyOne.
        places: folders of files that may be named in the browser.
    """

    runs: RunStore
    metrics: MetricsStore
    snapshots: SnapshotStore
    candidates: CandidateStore
    target_labels: TargetLabels
    evaluations: EvaluationStore
    jobs: Jobs
    presets: Presets
    data_sets: DataSets
    class_shares: ClassShares
    checks: Checks
    suites: SuiteStore
    speeds: SpeedStore
    inspections: Inspections
    places: Places

    def group(self, session: SessionState) -> str | None:
        """Return the category group a session looks at; None for a run of one network."""
        groups = self.runs.groups(session.run) if session.run is not None else []
        if not groups:
            return None
        return session.group if session.group in groups else groups[0]

    def network(self, session: SessionState) -> str | None:
        """Return the name of the run folder of the network a session looks at.

        The chosen run, or in a run of several category groups the module of the chosen one.
        """
        group = self.group(session)
        return module_of(session.run, group) if session.run and group else session.run


def make_services(
    runs_root: Path, *, data_root: Path, suites_root: Path = Path("suites")
) -> Services:
    """Return the services for one folder of runs.

    Args:
        runs_root: where runs lie and are made.
        data_root: the ToyStreets folder the presets train on.
        suites_root: where the suites lie.
    """
    runs = RunStore(runs_root)
    places = Places([Path.cwd(), runs_root, data_root, suites_root])
    return Services(
        runs=runs,
        metrics=MetricsStore(runs_root),
        snapshots=SnapshotStore(runs_root),
        candidates=CandidateStore(),
        target_labels=TargetLabels(runs_root),
        evaluations=EvaluationStore(runs),
        jobs=Jobs(runs),
        presets=Presets(runs_root=runs_root, data_root=data_root, places=places),
        data_sets=DataSets(runs, data_root=data_root),
        class_shares=ClassShares(),
        checks=Checks(runs_root),
        suites=SuiteStore(suites_root, places),
        speeds=SpeedStore(runs_root),
        inspections=Inspections(),
        places=places,
    )
