"""Whatever lies in the folder of runs: a bad line shows as bad, the others stay."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from workbench.pages.train import monitor
from workbench.stores.metrics import MetricsStore
from workbench.stores.runs import RunStore
from workbench.stores.snapshots import SnapshotStore

WriteRun = Callable[..., Path]
MARKUP = "<img src=x onerror=alert(1)>"
BAD_STATUS = {
    "empty": b"",
    "binary": b"\x00\xff",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "long number": b'{"state": "running", "step": ' + b"9" * 5000 + b"}",
    "numbers of nothing": json.dumps(
        {
            "state": "running",
            "host": "other",
            "pid": 10**30,
            "step": -1,
            "steps": 10**400,
            "heartbeat": float("nan"),
            "eta_seconds": float("inf"),
            "started": "0001-01-01T00:00:00",
        }
    ).encode(),
    "markup": json.dumps({"state": "failed", "error": MARKUP, "started": MARKUP}).encode(),
}


@pytest.fixture
def store(runs_root: Path) -> RunStore:
    return RunStore(runs_root)


@pytest.mark.parametrize("content", BAD_STATUS.values(), ids=BAD_STATUS)
def test_summaries__bad_status_is_a_line_of_its_own(
    store: RunStore, write_run: WriteRun, runs_root: Path, content: bytes
) -> None:
    write_run("good", steps=40)
    (runs_root / "bad").mkdir()
    (runs_root / "bad" / "status.json").write_bytes(content)
    found = {summary.name: summary for summary in store.summaries()}
    assert found["good"].status.step == 40
    assert not found["bad"].status.live
    shown = monitor.run_table(list(found.values()), chosen=None) + monitor.run_card(
        found["bad"], []
    )
    assert 'data-run="good"' in shown
    assert "<img" not in shown


def test_summaries__a_status_that_is_no_file(store: RunStore, runs_root: Path) -> None:
    (runs_root / "folder" / "status.json").mkdir(parents=True)
    (runs_root / "pipe").mkdir()
    os.mkfifo(runs_root / "pipe" / "status.json")
    (runs_root / "pipe" / "config.yaml").write_text("[" * 2_000)
    states = {summary.name: summary.status for summary in store.summaries()}
    assert [states[name].state for name in ("folder", "pipe")] == ["incomplete"] * 2
    assert "must be a file of at most 64 MiB, got 'p'" in str(states["pipe"].error)


@pytest.mark.parametrize("name", [MARKUP, "two\nlines", "..x", "-r", "a b", "é"])
def test_summaries__odd_folder_is_named_and_cannot_be_chosen(
    store: RunStore, write_run: WriteRun, runs_root: Path, name: str
) -> None:
    write_run("good", state="finished")
    (runs_root / name).mkdir()
    assert store.names() == ["good"]
    good, odd = store.summaries() if not name.startswith(".") else (store.summary("good"), None)
    table = monitor.run_table([good] if odd is None else [good, odd], chosen=None)
    assert table.count("data-run=") == 1
    assert "<img" not in table
    if odd is not None:
        assert odd.status.state == "incomplete"
        assert "run.name must be letters" in str(odd.status.error)


OUTSIDE = ("..", "../other", "good/modules/../../..", "/etc", "", "a\0b")


@pytest.mark.parametrize("name", OUTSIDE)
def test_stores__nothing_outside_the_folder_of_runs_is_opened(
    store: RunStore, write_run: WriteRun, runs_root: Path, name: str
) -> None:
    write_run("good", state="finished")
    (runs_root.parent / "config.yaml").write_text("secret: 1\n")
    asked = [
        store.dir,
        store.config,
        store.groups,
        store.checkpoints,
        store.tail,
        store.status,
        MetricsStore(runs_root).series,
        SnapshotStore(runs_root).steps,
    ]
    for ask in asked:
        with pytest.raises(UserError, match=r"run\.name must be letters"):
            ask(name)
