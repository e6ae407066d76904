from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from workbench.stores import suites as results_store
from workbench.stores.suites import SuiteStore, checked_folder

RUNS = (
    ("stage1-a-seed0", ""),
    ("m1-seed0", ""),
    ("m3-seed0", "stage1-a-seed0"),
    ("m4-seed0", "stage1-a-seed0"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "suites"


@pytest.fixture
def folder(root: Path, suite_factory: Any) -> Path:
    return suite_factory.write_suite(
        root / "table5-toy", "table5", {"m1": {0: 10.0}, "oracle": {0: 30.0}}, runs=RUNS
    )


def states(store: SuiteStore, folder: Path) -> dict[str, str]:
    return {run.name: run.state for run in store.runs(folder)}


def test_folders__newest_first_at_any_depth(root: Path, folder: Path, suite_factory: Any) -> None:
    older = suite_factory.write_suite(root / "dev" / "table2-toy", "table2", {})
    for name in ("suite.yaml", "records.jsonl"):
        os.utime(older / name, (1, 1))
    (root / "notes").mkdir()
    assert SuiteStore(root).folders() == [folder, older]
    assert SuiteStore(root / "nowhere").folders() == []


def test_results__read_once_while_nothing_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []
    collect = results_store.collect
    monkeypatch.setattr(results_store, "collect", lambda p: (calls.append(p), collect(p))[1])
    store = SuiteStore(folder.parent)
    first = store.results(folder)
    assert store.results(folder) is first
    assert calls == [folder]


def test_results__steps_of_a_running_run_change_nothing(folder: Path, suite_factory: Any) -> None:
    store = SuiteStore(folder.parent)
    alive = {"pid": os.getppid(), "host": socket.gethostname(), "heartbeat": time.time()}
    suite_factory.write_status(folder, "m2-seed0", state="running", step=1, steps=9, **alive)
    before = store.stamp(folder)
    suite_factory.write_status(folder, "m2-seed0", state="running", step=10, steps=99, **alive)
    assert store.stamp(folder) == before


def test_results__new_when_a_run_ends_or_is_evaluated_again(
    folder: Path, suite_factory: Any
) -> None:
    store = SuiteStore(folder.parent)
    assert store.results(folder).row("m2").state == "not run"
    suite_factory.write_finished(folder, "m2-seed0", 20.0)
    found = store.results(folder).row("m2").statistic("student", "cityscapes", "AP")
    assert found is not None
    assert found.mean == pytest.approx(20.0)
    again = suite_factory.evaluation(21.0, name="again, with a longer hash")
    (folder / "runs/m2-seed0/evaluation/00000009.json").write_text(json.dumps(again))
    found = store.results(folder).row("m2").statistic("student", "cityscapes", "AP")
    assert found is not None
    assert found.mean == pytest.approx(21.0)


def test_runs__states_of_what_is_there_and_what_is_not(folder: Path, suite_factory: Any) -> None:
    store = SuiteStore(folder.parent)
    assert states(store, folder) == {
        "stage1-a-seed0": "missing",
        "m1-seed0": "finished",
        "m3-seed0": "missing",
        "m4-seed0": "missing",
    }
    suite_factory.write_status(folder, "m4-seed0", state="running", step=1, steps=9, pid=2**22)
    suite_factory.add_record(folder, run="stage1-a-seed0", end="failed")
    found = {run.name: run for run in store.runs(folder)}
    assert found["stage1-a-seed0"].state == "failed"
    assert found["m3-seed0"].state == "blocked"
    assert "stage1-a-seed0" in found["m3-seed0"].note
    assert found["m4-seed0"].state == "dead"
    assert (found["m4-seed0"].step, found["m4-seed0"].steps) == (1, 9)


def test_runs__stage_1_nobody_waits_for_is_left_out(folder: Path, suite_factory: Any) -> None:
    for row in ("m3", "m4"):
        suite_factory.write_finished(folder, f"{row}-seed0", 20.0)
    assert set(states(SuiteStore(folder.parent), folder).values()) == {"finished"}


def test_runs__suite_without_a_list_of_runs_has_those_of_its_table(
    root: Path, suite_factory: Any
) -> None:
    folder = suite_factory.write_suite(root / "a", "table1", {}, seeds=(0, 1), scale="toy")
    assert list(states(SuiteStore(root), folder)) == [
        "urbansyn_source_only-seed0",
        "urbansyn_source_only-seed1",
        "urbansyn_uda4inst-seed0",
        "urbansyn_uda4inst-seed1",
        "oracle-seed0",
        "oracle-seed1",
    ]


def test_chart__drawn_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(results_store, "chart_export", lambda *asked: drawn.append(asked))
    store = SuiteStore(folder.parent)
    for _ in range(2):
        store.chart(folder, ("cityscapes", "student")).result()
    store.chart(folder, ("coco", "student")).result()
    assert len(drawn) == 2


def test_store__folder_that_is_no_suite_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must hold a readable suite\.yaml"):
        SuiteStore(tmp_path).results(tmp_path / "nothing")
    with pytest.raises(UserError, match="must be named"):
        checked_folder("  ")
