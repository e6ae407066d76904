from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from uda4inst.suites.engines import LocalEngine
from uda4inst.suites.expand import Expansion
from uda4inst.suites.folder import SuiteFolder, read_records
from uda4inst.suites.results import collect
from uda4inst.suites.reuse import reusable, take_over
from uda4inst.suites.runner import run_suite

Expand = Callable[..., tuple[SuiteFolder, Expansion]]


@pytest.fixture
def table2(
    trainer: tuple[str, ...], expanded: Expand, monkeypatch: pytest.MonkeyPatch
) -> SuiteFolder:
    """Return a suite whose runs are finished."""
    monkeypatch.setattr("uda4inst.suites.runner.POLL_SECONDS", 0.01)
    folder, expansion = expanded("table2")
    assert run_suite(folder, expansion, LocalEngine(at_once=1), trainer=trainer).is_good
    return folder


def test_take_over__finished_runs_of_the_same_configuration(
    table2: SuiteFolder, expanded: Expand
) -> None:
    folder, expansion = expanded("table5")
    found = reusable(folder, expansion)
    assert not folder.path.exists()
    taken = take_over(folder, expansion)
    assert taken == found
    stage1 = next(spec.stage1 for spec in expansion.runs if spec.row == "m1")
    assert {name: path.name for name, path in taken.items()} == {
        stage1: stage1,
        "m1-seed0": "none-seed0",
        "m3-seed0": "both-seed0",
        "oracle-seed0": "oracle-seed0",
    }
    (record,) = read_records(folder)["m3-seed0"]
    assert record["end"] == "finished"
    assert record["taken_from"] == str(table2.run("both-seed0").path)
    status = json.loads(folder.run("m3-seed0").status.read_text())
    assert status["state"] == "finished"
    assert take_over(folder, expansion) == {}


def test_take_over__what_goes_on_in_one_suite_stays_as_it_is_in_the_other(
    table2: SuiteFolder, expanded: Expand
) -> None:
    run = table2.run("both-seed0")
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n')
    run.lock.touch()
    run.control.mkdir(exist_ok=True)
    (run.control / "stop").touch()
    weights = run.checkpoints / "00000002" / "student.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"weights")
    folder, expansion = expanded("table5")
    take_over(folder, expansion)
    taken = folder.run("m3-seed0")
    os.truncate(taken.metrics, 12)
    assert run.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert not taken.lock.exists()
    assert not taken.control.exists()
    assert (taken.checkpoints / "00000002" / weights.name).stat().st_ino == weights.stat().st_ino


def test_take_over__is_then_skipped_and_reported(
    table2: SuiteFolder, expanded: Expand, trainer: tuple[str, ...]
) -> None:
    folder, expansion = expanded("table5")
    take_over(folder, expansion)
    outcome = run_suite(folder, expansion, LocalEngine(at_once=1), trainer=trainer)
    skipped = {name for name, end in outcome.ends.items() if end == "skipped"}
    assert {"m1-seed0", "m3-seed0", "oracle-seed0"} <= skipped
    assert outcome.ends["m5-seed0"] == "finished"


def test_take_over__not_what_is_unfinished_or_different(
    table2: SuiteFolder, expanded: Expand
) -> None:
    table2.run("oracle-seed0").status.unlink()
    (table2.run("none-seed0").config).write_text("nonsense: 1")
    folder, expansion = expanded("table5", "method.ema_decay=0.5")
    taken = take_over(folder, expansion)
    assert [name.split("-")[0] for name in taken] == ["stage1"]


def test_take_over__nothing_beside(expanded: Expand, tmp_path: Path) -> None:
    folder, expansion = expanded("table5")
    assert take_over(folder, expansion) == {}
    assert not folder.path.exists()
    with pytest.raises(ValueError, match=r"suite\.yaml"):
        collect(folder.path)
