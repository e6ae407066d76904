"""`uda4inst inspect data` as people run it, with a database of its own that ends with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import inspection
import psutil
import pytest
from inspection import PATIENCE as _PATIENCE
from inspection import environment, processes_in, wait_until_gone

inspection.require_database()

from browser_bench import ROOT, free_port
from pymongo.errors import AutoReconnect
from typer.testing import CliRunner

from uda4inst.doctor import find_mongod
from uda4inst.errors import UserError
from workbench.sessions.building import DataSession
from workbench.sessions.commands import inspect_app
from workbench.sessions.commands.showing import How, show

pytestmark = pytest.mark.inspection

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `uda4inst inspect data` in an empty folder; whatever happens, it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "uda4inst.cli", "inspect", "data", *arguments],
            cwd=tmp_path,
            env=environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
    for process in started:
        process.communicate(timeout=_PATIENCE)


def address_of(session: subprocess.Popen[str]) -> str:
    """Return the address that a session prints, after what its library may say before."""
    assert session.stdout is not None
    for line in session.stdout:
        if " images: http://127.0.0.1:" in line:
            return line.split()[-1]
    raise AssertionError(session.communicate(timeout=_PATIENCE)[1])


def test_headless__prints_one_summary_and_leaves_nothing_running(
    start: Start, toy: Path, tmp_path: Path
) -> None:
    first = start("urbansyn", str(toy / "urbansyn"), "--headless", "--limit", "4")
    out, err = first.communicate(timeout=_PATIENCE)
    assert first.returncode == 0, err
    summary = json.loads(out)
    assert summary["built"]
    assert summary["images"] == 4
    assert summary["domains"]["source"]["images_in_all"] == 8
    assert summary["views"]["source"] == 4
    wait_until_gone(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fiftyone"]

    again = start("urbansyn", str(toy / "urbansyn"), "--headless", "--limit", "4")
    out, err = again.communicate(timeout=_PATIENCE)
    assert json.loads(out) == {**summary, "built": False}
    wait_until_gone(tmp_path)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_session__answers_and_ends_with_its_database(
    start: Start, toy: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    session = start("urbansyn", str(toy / "urbansyn"), "--remote", "--limit", "2")
    with urllib.request.urlopen(address_of(session), timeout=_PATIENCE) as answer:
        assert answer.status == 200
    assert processes_in(tmp_path)
    children = psutil.Process(session.pid).children(recursive=True)
    session.send_signal(ending)
    session.communicate(timeout=_PATIENCE)
    assert session.returncode == (0 if ending != signal.SIGKILL else -signal.SIGKILL)
    wait_until_gone(tmp_path)
    psutil.wait_procs(children, timeout=_PATIENCE)
    assert [child for child in children if child.is_running()] == []


def test_session__a_database_left_behind_is_ended_by_the_next(
    start: Start, toy: Path, tmp_path: Path
) -> None:
    words = ("urbansyn", str(toy / "urbansyn"), "--limit", "2")
    session = start(*words, "--remote")
    address_of(session)
    (mongod,) = (p for p in processes_in(tmp_path) if p.name() == "mongod")
    guardian = mongod.parent()
    assert guardian is not None
    session.kill()
    guardian.kill()
    session.communicate(timeout=_PATIENCE)
    assert mongod.is_running()
    out, err = start(*words, "--headless").communicate(timeout=_PATIENCE)
    assert json.loads(out)["images"] == 2, err
    assert not mongod.is_running()
    wait_until_gone(tmp_path)


COUNTED = """
import sys
from pathlib import Path
from workbench.sessions.data_session import open_data_session
from workbench.sessions.request import request_tree
session = open_data_session(request_tree("urbansyn", Path(sys.argv[1]), limit=5))
print(session.summary["built"], session.summary["images"], len(session.dataset))
"""


def test_session__counts_images_anew_after_its_database_was_killed(
    start: Start, toy: Path, tmp_path: Path
) -> None:
    session = start("urbansyn", str(toy / "urbansyn"), "--limit", "5", "--remote")
    address_of(session)
    (mongod,) = (p for p in processes_in(tmp_path) if p.name() == "mongod")
    mongod.kill()  # what it counted quickly is lost with it
    session.kill()
    wait_until_gone(tmp_path)
    again = subprocess.run(
        [sys.executable, "-c", COUNTED, toy / "urbansyn"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.stdout.split() == ["False", "5", "5"], again.stderr


def test_session__of_two_at_once_each_ends_alone(start: Start, toy: Path, tmp_path: Path) -> None:
    one = start("urbansyn", str(toy / "urbansyn"), "--remote", "--limit", "2")
    two = start("cityscapes", str(toy / "cityscapes"), "--split", "val", "--remote", "--limit", "2")
    addresses = {session.pid: address_of(session) for session in (one, two)}
    (mongod,) = (p for p in processes_in(tmp_path) if p.name() == "mongod")
    guardian = mongod.parent()
    assert guardian is not None
    first, other = (one, two) if guardian.ppid() == one.pid else (two, one)

    children = [
        child for pid in addresses for child in psutil.Process(pid).children(recursive=True)
    ]
    # Whoever started the database leaves it, and what it printed, to who is still there.
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=_PATIENCE)
    assert first.returncode == 0
    with urllib.request.urlopen(addresses[other.pid], timeout=_PATIENCE) as answer:
        assert answer.status == 200
    assert mongod.is_running()

    other.send_signal(signal.SIGTERM)
    other.communicate(timeout=_PATIENCE)
    assert other.returncode == 0
    wait_until_gone(tmp_path)
    _, left = psutil.wait_procs(children, timeout=_PATIENCE)
    assert left == []


def test_headless__uses_a_mongodb_of_ones_own(start: Start, toy: Path, tmp_path: Path) -> None:
    mongod, port = find_mongod(), free_port()
    if mongod is None:
        pytest.skip("no mongod of this machine: FIFTYONE_DATABASE_URI names another")
    own = f"mongodb://127.0.0.1:{port}"
    (tmp_path / "own").mkdir()
    database = subprocess.Popen(
        [mongod, "--dbpath", tmp_path / "own", "--port", str(port), "--nounixsocket", "--quiet"],
        stdout=subprocess.DEVNULL,
    )
    words = ("urbansyn", str(toy / "urbansyn"), "--limit", "2", "--headless")
    try:
        process = start(*words, FIFTYONE_DATABASE_URI=own)
        out, err = process.communicate(timeout=_PATIENCE)
        assert json.loads(out)["images"] == 2, err
        assert processes_in(tmp_path) == []
        assert not (tmp_path / "fiftyone" / "database").exists()
    finally:
        database.terminate()
        database.wait(_PATIENCE)
    gone = start(*words, FIFTYONE_DATABASE_URI=own)
    out, err = gone.communicate(timeout=_PATIENCE)
    assert (gone.returncode, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: FIFTYONE_DATABASE_URI must name a MongoDB")


@pytest.mark.parametrize("events", [False, True])
def test_show__a_database_that_goes_away_is_one_message(events: bool) -> None:
    def build(progress: object) -> list[DataSession]:
        raise AutoReconnect("localhost:1: reset by peer (configured timeouts: 20000.0ms)")

    how = How(limit=None, fresh=False, headless=False, port=None, remote=True, events=events)
    with pytest.raises(
        UserError, match=r"must stay while it is used .*, got localhost:1: reset"
    ) as e:
        show(build, how)
    assert "configured" not in str(e.value)
    assert "Free space on the disk" in str(e.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("urbansyn",), "ROOT must be given with a format", id="no-root"),
        pytest.param(("urbansyn", "nowhere"), "ROOT must be the data set's folder", id="no-folder"),
        pytest.param(("toystreets_dmo",), "Did you mean toystreets_demo?", id="preset"),
        pytest.param(
            ("toystreets_demo", "--split", "val"), "--split must go with FORMAT ROOT", id="split"
        ),
        pytest.param(("toystreets_demo",), "uda4inst data toystreets", id="no-data"),
        pytest.param((), "images must be named", id="nothing"),
        pytest.param(("--source", "x", "--split", "val"), "must stand alone", id="source-split"),
    ],
)
def test_inspect_data__mistake_is_one_message_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(inspect_app, ["data", *arguments, "--headless"])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert result.output == ""
    assert list(tmp_path.iterdir()) == []


def test_inspect_data__mistake_ends_the_program_with_2(start: Start, tmp_path: Path) -> None:
    process = start("urbansyn", "nowhere", "--headless")
    out, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: ROOT must be the data set's folder")
    assert list(tmp_path.iterdir()) == []
