"""What the pages work with: made once in `app.py`, passed in, never global."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.candidates import CandidateStore
from workbench.data_checks import Checks
from workbench.data_sets import DataSets
from workbench.data_shares import ClassShares
from workbench.evaluations import EvaluationStore
from workbench.jobs import Jobs
from workbench.metrics import MetricsStore
from workbench.presets import Presets
from workbench.runs import RunStore
from workbench.snapshots import SnapshotStore


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that reads runs and data sets, or starts processes for them.

    Args:
        runs: run folders and their true state.
        metrics: logged values.
        snapshots: what `prepare` made.
        candidates: their detections, overlaps resolved.
        evaluations: stored predictions beside ground truth.
        jobs: training processes.
        presets: configurations to begin with.
        data_sets: the images a session looks at.
        class_shares: how frequent classes are in them.
        checks: what is wrong with them.
    """

    runs: RunStore
    metrics: MetricsStore
    snapshots: SnapshotStore
    candidates: CandidateStore
    evaluations: EvaluationStore
    jobs: Jobs
    presets: Presets
    data_sets: DataSets
    class_shares: ClassShares
    checks: Checks


def make_services(runs_root: Path, *, data_root: Path) -> Services:
    """Return the services for one folder of runs.

    Args:
        runs_root: where runs lie and are made.
        data_root: the ToyStreets folder the presets train on.
    """
    runs = RunStore(runs_root)
    return Services(
        runs=runs,
        metrics=MetricsStore(runs_root),
        snapshots=SnapshotStore(runs_root),
        candidates=CandidateStore(),
        evaluations=EvaluationStore(runs),
        jobs=Jobs(runs),
        presets=Presets(runs_root=runs_root, data_root=data_root),
        data_sets=DataSets(runs, data_root=data_root),
        class_shares=ClassShares(),
        checks=Checks(runs_root),
    )
