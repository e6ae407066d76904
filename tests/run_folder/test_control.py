from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from uda4inst.run_folder.control import (
    Control,
    Wishes,
    leave_request,
    pending_requests,
    take_requests,
)


def test_control__nothing_asked(tmp_path: Path) -> None:
    assert Control(tmp_path).ask() == Wishes()
    assert Control(tmp_path / "missing").ask() == Wishes()
    assert Control(None).ask() == Wishes()


@pytest.mark.parametrize(
    ("request_name", "wishes"),
    [
        ("stop", Wishes(stop=True)),
        ("pause", Wishes(paused=True)),
        ("snapshot", Wishes(snapshot=True)),
        ("resume", Wishes()),
    ],
)
def test_control__takes_a_request_and_deletes_it(
    tmp_path: Path, request_name: str, wishes: Wishes
) -> None:
    (tmp_path / request_name).touch()
    assert Control(tmp_path).ask() == wishes
    assert list(tmp_path.iterdir()) == []


def test_control__stays_paused_until_resumed(tmp_path: Path) -> None:
    control = Control(tmp_path)
    (tmp_path / "pause").touch()
    assert control.ask().paused
    assert control.ask().paused
    (tmp_path / "resume").touch()
    assert not control.ask().paused


def test_control__stop_ends_a_pause(tmp_path: Path) -> None:
    control = Control(tmp_path)
    (tmp_path / "pause").touch()
    control.ask()
    (tmp_path / "stop").touch()
    assert control.interrupted
    assert control.ask() == Wishes(stop=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_control__a_signal_is_a_wish_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    control = Control(tmp_path)
    # Tests started in the background would be deaf to Ctrl-C.
    before, found = signal.default_int_handler, signal.signal(number, signal.default_int_handler)
    try:
        with control.listening():
            assert not control.interrupted
            os.kill(os.getpid(), number)
            assert control.interrupted
            assert control.ask() == Wishes(stop=True, signal=number)
            # A second one would act as it did before.
            assert signal.getsignal(number) == before
        assert signal.getsignal(number) == before
    finally:
        signal.signal(number, found)


def test_control__an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        control = Control(tmp_path)
        with control.listening():
            os.kill(os.getpid(), signal.SIGINT)
            assert not control.interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def test_control__announces_a_failure(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.announce_failure()
    assert control.ask().failed


def test_requests__left_seen_and_taken_once(tmp_path: Path) -> None:
    folder = tmp_path / "control"
    assert (pending_requests(folder), take_requests(folder)) == ([], frozenset())
    leave_request(folder, "snapshot")
    leave_request(folder, "pause")
    (folder / ".ipynb_checkpoints").mkdir()  # as JupyterLab makes them where people look
    assert pending_requests(folder) == ["pause", "snapshot"]
    assert take_requests(folder) == {"pause", "snapshot"}
    assert [path.name for path in folder.iterdir()] == [".ipynb_checkpoints"]
    assert take_requests(folder) == frozenset()
