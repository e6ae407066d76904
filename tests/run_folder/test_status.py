from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from uda4inst.run_folder.status import StatusFile


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
