from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from workbench.notebook import snapshots
from workbench.notebook.losses import losses

WriteRun = Callable[..., Path]


@pytest.fixture
def run(write_run: WriteRun, factories: ModuleType) -> RunDir:
    folder = write_run(steps=4)
    for step in (100, 200):
        factories.write_snapshot(folder, step, pool=6)
    return RunDir(folder)


def test_mixing__every_view_of_every_step_can_be_shown(run: RunDir) -> None:
    stepper = snapshots.mixing({"M5": run})
    assert stepper.choices["step"] == (100, 200)
    assert stepper.choices["view"] == ("source", "target", "pseudo_labels", "s2t", "t2s")
    assert stepper.values()["step"] == 200
    assert "pasted from pool" in stepper.picture.value
    stepper.walk()
    stepper.controls["view"].value = "t2s"
    assert "pasted from pseudo-labels" in stepper.picture.value


def test_mixing__runs_without_a_step_in_common(
    run: RunDir, write_run: WriteRun, factories: ModuleType
) -> None:
    other = write_run("other", steps=4)
    factories.write_snapshot(other, 300)
    with pytest.raises(UserError, match=r"a: \[100, 200\]; b: \[300\]"):
        snapshots.mixing({"a": run, "b": RunDir(other)})


def test_mixing__a_run_without_snapshots(write_run: WriteRun) -> None:
    with pytest.raises(UserError, match=r"training\.snapshot_every=N"):
        snapshots.mixing({"a": RunDir(write_run(steps=4))})


def kept(text: str) -> int:
    return int(text.partition(": ")[2].partition(" kept")[0])


def test_thresholds__a_higher_threshold_keeps_no_more(run: RunDir) -> None:
    stepper = snapshots.thresholds(run)
    assert stepper.values()["score_threshold"] == 0.9
    counts = [kept(stepper.sheet(score_threshold=[value]).text) for value in snapshots.THRESHOLDS]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_thresholds__those_on_the_ego_vehicle_are_dropped_as_in_training(run: RunDir) -> None:
    before = kept(snapshots.thresholds(run).sheet(score_threshold=[0.05]).text)
    config = run.config.read_text()
    assert "min_valid_share: 0.2" in config
    run.config.write_text(config.replace("min_valid_share: 0.2", "min_valid_share: 2.0"))
    assert before > 0
    assert kept(snapshots.thresholds(run).sheet(score_threshold=[0.05]).text) == 0


def test_pool__counts_entries_and_what_they_hide(run: RunDir) -> None:
    stepper = snapshots.pool(run)
    assert "6 entries wait" in stepper.picture.value
    stepper.controls["show"].value = "s2t"
    hidden = stepper.picture.value.partition("the pool hides ")[2].partition("%")[0]
    assert 0 < float(hidden) < 100


def test_losses__adds_the_terms_of_each_view(run: RunDir, write_run: WriteRun) -> None:
    stepper = losses({"M5": run})
    text = stepper.sheet(mean_over=[1]).text
    assert "mean over 1 steps" in text
    assert "at the end: " in text
