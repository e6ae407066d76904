"""What is said of a database that does not work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import inspection
import pytest

inspection.require_fiftyone()

import fiftyone as fo

from workbench.sessions.database import lost

pytestmark = pytest.mark.inspection

REFUSED = ConnectionError("localhost:1: Connection refused (configured timeouts: 20 s)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fo.config, "database_uri", None)
    monkeypatch.setattr(fo.config, "database_dir", str(tmp_path))
    (tmp_path / "log").mkdir()
    return tmp_path


def complain(folder: Path, *lines: dict[str, Any] | str) -> None:
    said = (x if isinstance(x, str) else json.dumps(x, separators=(",", ":")) for x in lines)
    (folder / "log" / "mongo.log").write_text("\n".join(said))


def test_lost__a_full_disk_is_said_in_a_line(folder: Path) -> None:
    writing = {"msg": "pwrite: failed to write 4096 bytes", "error_str": "No space left on device"}
    error = {"s": "E", "msg": "WiredTiger error message", "attr": {"error": 28, "message": writing}}
    complain(folder, error)
    said = str(lost(REFUSED))
    assert said.startswith(f"the database must stay while it is used ({folder}), got a full disk, ")
    assert said.endswith("Free space on the disk, or put the folder away to begin anew.")
    assert "\n" not in said


def test_lost__other_complaints_are_quoted_once(folder: Path) -> None:
    broken = {"s": "F", "msg": "Fatal assertion", "attr": {"error": "file is damaged"}}
    fine = {"s": "I", "msg": "Waiting for connections"}
    complain(folder, fine, broken, broken, '{"s":"E", half a line')
    said = str(lost(REFUSED)).splitlines()
    assert said[1] == "  Fatal assertion: file is damaged"
    assert said[2].startswith('  {"s":"E", half a line, got localhost:1: Connection refused, with ')
    assert "Waiting" not in " ".join(said)


def test_lost__without_a_log(folder: Path) -> None:
    (folder / "log").rmdir()
    assert f"({folder}), got localhost:1: Connection refused, with " in str(lost(REFUSED))
