from __future__ import annotations

import json
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.evaluations import (
    evaluated_steps,
    last_evaluation,
    predicting_networks,
    predictions_file,
    read_evaluation,
    write_evaluation,
)
from uda4inst.run_folder.layout import RunDir

CLASSES = {"car": {"AP": 0.25, "AP50": 0.5}, "train": None}
RECORD = {
    "step": 300,
    "config_hash": "abc123",
    "dataset": "Cityscapes",
    "split": "val",
    "images": 50,
    "modules": {"car-train": "abc124"},
    "results": {
        "student": {"cityscapes": {"AP": 0.25, "AP50": None, "per_class": CLASSES}},
        "teacher": {},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "demo")
    run.evaluation.mkdir(parents=True)
    return run


def test_read_evaluation__what_was_written(run: RunDir) -> None:
    write_evaluation(run, RECORD)
    found = read_evaluation(run.evaluation_of(300))
    assert (found.step, found.config_hash, found.images) == (300, "abc123", 50)
    assert (found.dataset, found.split, found.modules) == (
        "Cityscapes",
        "val",
        {"car-train": "abc124"},
    )
    assert found.networks == ("student", "teacher")
    assert found.results == RECORD["results"]


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        pytest.param(("student", "cityscapes", "AP"), 0.25, id="all-classes"),
        pytest.param(("student", "cityscapes", "AP50"), None, id="no-ground-truth"),
        pytest.param(("student", "cityscapes", "AP50", "car"), 0.5, id="one-class"),
        pytest.param(("student", "cityscapes", "AP", "train"), None, id="class-without-truth"),
        pytest.param(("student", "cityscapes", "AP", "bus"), None, id="class-not-learned"),
        pytest.param(("student", "coco", "AP"), None, id="other-protocol"),
        pytest.param(("teacher", "cityscapes", "AP"), None, id="nothing-of-this-network"),
    ],
)
def test_value__a_number_or_none(run: RunDir, asked: tuple[str, ...], value: float | None) -> None:
    write_evaluation(run, RECORD)
    assert read_evaluation(run.evaluation_of(300)).value(*asked) == value


@pytest.mark.parametrize("text", ["{", "[]", '{"results": 3}', '{"results": {"student": 1}}', ""])
def test_read_evaluation__refuses(tmp_path: Path, text: str) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(UserError, match=r"e\.json"):
        read_evaluation(tmp_path / "e.json")


def test_read_evaluation__old_or_odd_fields_are_as_if_not_written(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(json.dumps({"results": {}, "step": "x", "modules": 3}))
    found = read_evaluation(tmp_path / "e.json")
    assert (found.step, found.images, found.modules) == (0, None, {})


def test_last_evaluation__of_the_newest_step(run: RunDir) -> None:
    assert last_evaluation(run) is None
    for step in (300, 20):
        write_evaluation(run, {**RECORD, "step": step})
    (run.evaluation / ".tmp-00000900.json").touch()
    predictions_file(run, 400, "student").parent.mkdir(parents=True)
    assert evaluated_steps(run) == [20, 300]
    found = last_evaluation(run)
    assert found is not None
    assert found.step == 300
    assert evaluated_steps(RunDir(run.path / "missing")) == []


def test_predicting_networks__teacher_first(run: RunDir) -> None:
    assert predicting_networks(run, 5) == []
    for network in ("student", "teacher"):
        path = predictions_file(run, 5, network)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert predicting_networks(run, 5) == ["teacher", "student"]
    assert path == run.path / "evaluation" / "predictions" / "00000005" / "teacher.jsonl.gz"
