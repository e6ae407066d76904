"""Sessions of FiftyOne as processes, with a small program in place of the real one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import inspect_stand_in
import psutil
import pytest

from uda4inst.errors import UserError
from workbench.jobs import inspections as module
from workbench.jobs.inspections import FiftyOneSession, Inspection, Inspections
from workbench.sessions.installed import require_fiftyone

STAND_IN = (sys.executable, str(inspect_stand_in.__file__))
_PATIENCE = 20.0


def made(what: str) -> Inspection:
    return Inspection(f"the {what} one", (what,))


@pytest.fixture
def sessions() -> Iterator[Inspections]:
    inspections = Inspections(opener=STAND_IN, require=lambda: None)
    yield inspections
    for session in inspections.all():
        inspections.close(session.number)
    wait_until(lambda: not inspections.all())


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def wait(sessions: Inspections, what: str, state: str) -> FiftyOneSession:
    def known() -> FiftyOneSession | None:
        return sessions.look(made(what))

    wait_until(lambda: (found := known()) is not None and found.state == state)
    found = known()
    assert found is not None
    return found


def processes(of: int | None = None) -> list[psutil.Process]:
    """Return the stand-ins that run below a process, this one by itself: others test beside it."""
    return [one for one in psutil.Process(of).children(recursive=True) if runs(one)]


def runs(process: psutil.Process) -> bool:
    """Whether a process is a stand-in that has not ended."""
    try:
        ended = process.status() == psutil.STATUS_ZOMBIE
        return not ended and STAND_IN[1] in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_open__tells_how_far_it_is_then_where(sessions: Inspections) -> None:
    assert sessions.look(made("open")) is None
    began = sessions.open(made("open"))
    assert (began.state, began.total) == ("building", 0)
    found = wait(sessions, "open", "open")
    assert (found.done, found.total, found.images) == (4, 4, 4)
    assert found.address == "http://127.0.0.1:5999/datasets/data-x"
    assert [view.name for view in found.views][:2] == ["source", "ap_demo: misses of car"]


def test_open__while_it_builds(sessions: Inspections) -> None:
    sessions.open(made("slow"))
    wait_until(lambda: sessions.all()[0].total == 4)
    assert sessions.all()[0].state == "building"
    assert sessions.all()[0].done == 1


def test_open__asked_again_is_the_same(sessions: Inspections) -> None:
    first = sessions.open(made("open"))
    wait(sessions, "open", "open")
    again = sessions.open(Inspection("by another name", ("open",)))
    assert again.number == first.number
    assert again.state == "open"
    sessions.open(made("slow"))
    assert [session.inspection.arguments for session in sessions.all()] == [("open",), ("slow",)]


def test_open__mistake_is_one_message_and_can_be_tried_again(sessions: Inspections) -> None:
    first = sessions.open(made("wrong"))
    found = wait(sessions, "wrong", "failed")
    assert found.error == "root must be an UrbanSyn folder, got none.\nName it."
    assert sessions.open(made("wrong")).number != first.number
    wait(sessions, "wrong", "failed")
    assert len(sessions.all()) == 1


def test_open__crash_keeps_the_last_words(sessions: Inspections) -> None:
    sessions.open(made("crash"))
    assert "ZeroDivisionError: not foreseen" in wait(sessions, "crash", "failed").error


def test_open__session_that_ends_by_itself_has_failed(sessions: Inspections) -> None:
    sessions.open(made("dies"))
    assert "ended without a word" in wait(sessions, "dies", "failed").error


def test_close__ends_the_process_and_takes_it_off_the_list(sessions: Inspections) -> None:
    session = sessions.open(made("open"))
    wait(sessions, "open", "open")
    sessions.close(session.number)
    assert sessions.look(made("open")) is None
    wait_until(lambda: not sessions.all())
    assert processes() == []
    with pytest.raises(UserError, match="must be open"):
        sessions.close(session.number)


def test_close__while_it_closes_another_can_be_opened(sessions: Inspections) -> None:
    first = sessions.open(made("open"))
    sessions.close(first.number)
    second = sessions.open(made("open"))
    assert second.number != first.number
    assert wait(sessions, "open", "open").number == second.number


def test_close__one_that_does_not_end_is_killed(
    sessions: Inspections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    session = sessions.open(made("stubborn"))
    wait(sessions, "stubborn", "open")
    sessions.close(session.number)
    wait_until(lambda: not sessions.all())
    assert processes() == []


def test_close__failed_one_is_taken_off_the_list(sessions: Inspections) -> None:
    session = sessions.open(made("wrong"))
    wait(sessions, "wrong", "failed")
    sessions.close(session.number)
    assert sessions.all() == []


@pytest.mark.parametrize("ending", ["kill", "terminate"])
def test_app__however_it_ends_its_sessions_do(ending: str) -> None:
    code = f"""
        from workbench.jobs.inspections import Inspection, Inspections
        sessions = Inspections(opener={STAND_IN!r}, require=lambda: None)
        for what in ("open", "slow"):
            sessions.open(Inspection(what, (what,)))
        while not all(session.total for session in sessions.all()):
            pass
        print("ready", flush=True)
        input()
    """
    app = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert app.stdout is not None
    assert app.stdout.readline() == "ready\n"
    started = processes(app.pid)
    assert len(started) == 2
    getattr(app, ending)()
    app.communicate(timeout=_PATIENCE)
    wait_until(lambda: not any(map(runs, started)))


def test_open__without_fiftyone_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sessions = Inspections(opener=STAND_IN)
    assert sessions.look(made("open")) is None
    with pytest.raises(UserError, match="make venv"):
        sessions.open(made("open"))
    assert sessions.all() == []


def test_require_fiftyone__a_folder_of_its_name_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fiftyone").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "fiftyone", raising=False)
    with pytest.raises(UserError, match="must have FiftyOne"):
        require_fiftyone()
