from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder import status as status_module
from uda4inst.run_folder.alive import creation_time
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.status import (
    Status,
    StatusFile,
    is_finished,
    load_status,
    read_status,
    status_changed,
)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_status__signs_while_nothing_happens(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, steps=5, every=0.02)
    status.start()
    first = read(path)
    assert (first["state"], first["steps"], first["step"]) == ("running", 5, 0)
    assert (first["pid"], first["host"]) == (os.getpid(), socket.gethostname())
    status.update(step=3, stage=2)
    deadline = time.monotonic() + 5
    while read(path)["step"] != 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read(path)["heartbeat"] > first["heartbeat"]
    assert (read(path)["step"], read(path)["stage"]) == (3, 2)
    status.close("finished")


def test_status__a_change_of_state_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, steps=5, every=60)
    status.start()
    status.enter("paused", message="waiting")
    assert (read(path)["state"], read(path)["message"]) == ("paused", "waiting")
    status.close("failed", error="disk full")
    assert (read(path)["state"], read(path)["error"]) == ("failed", "disk full")


def test_status__nothing_is_written_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, steps=5, every=0.01)
    status.start()
    status.close("stopped")
    last = read(path)
    time.sleep(0.05)
    assert read(path) == last


def test_load_status__what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, steps=8, every=60)
    status.update(step=2, stage=2, eta_seconds=1.5, steps_per_second=4.0)
    status.enter("paused", message="waiting")
    found = load_status(path)
    assert (found.state, found.step, found.steps, found.stage) == ("paused", 2, 8, 2)
    assert (found.pid, found.host) == (os.getpid(), socket.gethostname())
    assert found.process_started == creation_time(os.getpid())
    assert (found.message, found.error) == ("waiting", None)
    assert (found.eta_seconds, found.steps_per_second) == (1.5, 4.0)
    assert (found.live, found.progress) == (True, 0.25)


def test_load_status__of_an_earlier_version(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"state": "finished", "step": 9}))
    assert load_status(path) == Status("finished", step=9)


def test_load_status__fields_of_other_types_are_as_if_not_written(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    odd = {"step": "x", "steps": True, "pid": [1], "host": 3, "heartbeat": None, "error": {"a": 1}}
    path.write_text(json.dumps({"state": "failed", **odd, "unknown": 1}))
    assert load_status(path) == Status("failed", error="{'a': 1}")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b'{"step": 1}', b'{"state": "dancing"}', b'{"state": []}', b"\xff\0"],
)
def test_read_status__any_content(tmp_path: Path, content: bytes) -> None:
    run = RunDir(tmp_path)
    run.status.write_bytes(content)
    with pytest.raises(UserError, match=r"status\.json must hold the state of the run"):
        load_status(run.status)
    assert read_status(run) is None
    assert not is_finished(run)
    assert status_changed(run) > 0


def test_read_status__nothing_there(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_status(run.status)
    run.status.mkdir()
    assert read_status(run) is None
    assert status_changed(RunDir(tmp_path / "missing")) == 0


def test_status_file__the_start_of_the_process_follows_a_clock_that_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    file = StatusFile(path, steps=10, every=60)
    file.enter("paused")
    before = load_status(path).process_started
    assert before is not None
    monkeypatch.setattr(status_module, "creation_time", lambda _: before + 3600)
    file.enter("running")
    assert load_status(path).process_started == before + 3600
