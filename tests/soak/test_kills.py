"""Kills of the soak in short: three of a run of two groups, then what it left is compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed_runs import SCENARIOS, Place, Unbroken, differences, run_trial, run_unbroken

from uda4inst.toystreets.write import write_toystreets

pytestmark = pytest.mark.e2e

IN_TURN = SCENARIOS[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soak")
    write_toystreets(folder / "toystreets", size=(64, 128), train=8, val=2, workers=0)
    return folder


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return run_unbroken(Place(tmp_path_factory.mktemp("unbroken") / "a", data), IN_TURN)


def test_two_groups__killed_three_times_and_resumed(
    data: Path, unbroken: Unbroken, tmp_path: Path
) -> None:
    place = Place(tmp_path / "a", data)
    trial = run_trial(place, IN_TURN, unbroken, seed=2, kills=3)
    assert len(trial.kills) == 3
    assert [kill.faults for kill in trial.kills] == [(), (), ()]
    assert trial.faults == []
    assert any("checkpoints" in name and "optimizer.pt" in name for name in unbroken.content)
    assert any("predictions" in name for name in unbroken.content)


def test_differences__are_found(unbroken: Unbroken) -> None:
    content = dict(unbroken.content)
    weights = next(name for name in content if name.endswith("teacher.safetensors"))
    metrics = next(name for name in content if name.endswith("metrics.jsonl"))
    content[weights] = "0" * 64
    del content[metrics]
    content["runs/a/evaluation/.tmp-1-x"] = ""
    content["runs/a/checkpoints/00000099/state.pt"] = ""  # of a trainer that saved and ended
    assert set(differences(content, unbroken.content)) == {
        f"missing: {metrics}",
        f"differs: {metrics}",
        f"differs: {weights}",
        "too much: runs/a/evaluation/.tmp-1-x",
    }
