"""Runs made at commit 2bd169c open, go on, end in the same bits, and are judged alike.

Bits are compared on the kind of machine that made the runs. Sums are rounded otherwise elsewhere:
there, losses and scores are compared to three digits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from older_runs import copy_runs, fixture, small_network
from run_ends import end_of, machine

from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.checkpoints import open_checkpoint
from uda4inst.run_folder.layout import RunDir, read_json
from uda4inst.toystreets.write import write_toystreets
from uda4inst.training.config import config_hash, load_config
from uda4inst.training.groups import category_groups
from workbench.stores.snapshots import SnapshotStore

EXPECTED = fixture("expected.json")
FIRST_GROUP = "groups/modules/person-rider-motorcycle-bicycle"
NAMES = ("single", "groups")
# Folder of one network, step and stage of its checkpoint, lines of metrics.
PARTS = (("single", 6, 2, 6), (FIRST_GROUP, 2, 1, 2))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "small"
    write_toystreets(folder, size=(64, 128), train=4, val=2, seed=0, workers=0)
    return folder


@pytest.fixture
def runs(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the runs, in a working directory with the data that they name."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", small_network())
    copy_runs(tmp_path / "runs")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small").symlink_to(pictures, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def assert_same_end(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare to the bit, or on another kind of machine to three digits."""
    if machine() == EXPECTED["machine"]:
        assert found == expected
        return
    assert found["modules"].keys() == expected["modules"].keys()
    for name in expected["modules"]:
        assert_same_end(found["modules"][name], expected["modules"][name])
    for line, reference in zip(found.get("metrics", []), expected.get("metrics", []), strict=True):
        assert (line["step"], line["stage"]) == (reference["step"], reference["stage"])
        assert line["losses"] == pytest.approx(reference["losses"], rel=1e-3)
    for step, reference in expected["evaluation"].items():
        assert_same_scores(found["evaluation"][step], reference)


def assert_same_scores(found: Any, expected: Any) -> None:
    """Compare nested scores to three digits and everything else exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same_scores(found[key], expected[key])
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-3)
    else:
        assert found == expected


@pytest.mark.parametrize(("name", "step", "stage", "lines"), PARTS)
def test_older_run__opens(runs: Path, name: str, step: int, stage: int, lines: int) -> None:
    run = RunDir(runs / name)
    checkpoint = open_checkpoint(run.checkpoints)
    assert (checkpoint.step, checkpoint.stage) == (step, stage)
    assert checkpoint.manifest["config_hash"] == config_hash(load_config(run.config))
    status = read_json(run.status)
    assert (status["state"], status["step"], status["steps"]) == ("stopped", step, 8)
    assert len(run.metrics.read_text().splitlines()) == lines


def test_older_run__its_snapshot_is_shown(runs: Path) -> None:
    snapshot = SnapshotStore(runs).read("single", 4)
    assert (snapshot.step, snapshot.stage) == (4, 2)
    (item,) = snapshot.items
    assert item.source is not None
    assert item.source.image.shape == (64, 64, 3)
    assert len(item.candidates) == len(item.kept) > 0
    assert len(snapshot.pool) > 0


@pytest.mark.e2e
@pytest.mark.parametrize("name", NAMES)
def test_older_run__goes_on_to_the_same_end(runs: Path, name: str) -> None:
    run = RunDir(runs / name)
    assert category_groups.resume(run).state == "finished"
    assert_same_end(end_of(run.path), EXPECTED["runs"][name]["end"])
    category_groups.evaluate(run)
    assert_same_end(end_of(run.path), EXPECTED["runs"][name]["judged"])
