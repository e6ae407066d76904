"""Sessions that a program opens: what they say, and their end with the program."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import inspection
import psutil
import pytest
from inspection import PATIENCE, environment, processes_in, wait_until_gone

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from workbench.sessions.building import DataSession

inspection.require_database()

pytestmark = pytest.mark.inspection

ROOT = Path(__file__).parents[3]

# What the app does, without its pages: it opens a session of each kind, and says what it knows.
APP = """
    import json, sys, time
    from workbench.jobs.inspections import Inspection, Inspections
    sessions = Inspections()
    for words in json.loads(sys.argv[1]):
        sessions.open(Inspection("one", tuple(words)))
    while any(session.state == "building" for session in sessions.all()):
        time.sleep(0.1)
    print(json.dumps([
        {"state": one.state, "error": one.error, "total": one.total, "address": one.address,
         "views": {view.name: view.address for view in one.views}}
        for one in sessions.all()
    ]), flush=True)
    sys.stdin.read()
"""


def start_app(folder: Path, *requests: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(APP), json.dumps(requests)],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ref(root: Path, format_name: str, split: str = "train") -> str:
    return json.dumps({"format": format_name, "root": str(root / format_name), "split": split})


def test_session__ends_with_a_program_that_is_killed(toy: Path, tmp_path: Path) -> None:
    both = ["--source", ref(toy, "urbansyn"), "--target", ref(toy, "cityscapes", "val")]
    app = start_app(
        tmp_path, ["data", *both], ["data", "--source", ref(toy / "nowhere", "urbansyn")]
    )
    assert app.stdout is not None
    opened, wrong = json.loads(app.stdout.readline())
    assert (opened["state"], opened["total"]) == ("open", 10)
    for address in (opened["address"], opened["views"]["class car"]):
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            assert answer.status == 200
    assert wrong["state"] == "failed"
    assert wrong["error"].startswith("root must be an UrbanSyn folder")
    children = psutil.Process(app.pid).children(recursive=True)
    assert len(children) >= 2
    assert processes_in(tmp_path)

    app.send_signal(signal.SIGKILL)
    app.communicate(timeout=PATIENCE)
    _, left = psutil.wait_procs(children, timeout=PATIENCE)
    assert left == []
    wait_until_gone(tmp_path)


def test_serve_for_program__keeps_standard_output_for_events(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from workbench.sessions.events import serve_for_program

    def build(progress: Callable[[str, int, int], None]) -> Sequence[DataSession]:
        progress("Adding images", 1, 2)
        print("\r\nCould not connect session, trying again")  # FiftyOne, where its start is slow
        raise UserError("root must be there.")

    with pytest.raises(UserError, match="root must be there"):
        serve_for_program(build, None)
    print("after")
    said, beside = capfd.readouterr()
    event, after = said.splitlines()
    assert json.loads(event) == {
        "event": "building", "doing": "Adding images", "done": 1, "total": 2,
    }  # fmt: skip
    assert after == "after"
    assert "Could not connect" in beside
