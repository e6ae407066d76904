from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from uda4inst.atomic import write_json
from uda4inst.errors import UserError
from uda4inst.run_folder import trainer
from uda4inst.run_folder.alive import creation_time, is_alive, this_host
from uda4inst.run_folder.layout import RunDir, create_run
from uda4inst.run_folder.status import Status, StatusFile, load_status
from uda4inst.run_folder.trainer import is_held, living_trainer, locked, why_dead


def new_run(root: Path, name: str = "a") -> RunDir:
    run = RunDir(root / name)
    create_run(run, config_yaml="seed: 0\n")
    return run


@pytest.fixture(scope="module")
def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def here(pid: int, *, heartbeat: float, process_started: float | None = None) -> Status:
    return Status(
        "running",
        pid=pid,
        host=this_host(),
        heartbeat=heartbeat,
        process_started=process_started,
    )


def test_locked__refuses_a_second_trainer_and_names_the_first(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.status.write_text(json.dumps({"state": "running", "pid": 4321}))
    with (
        locked(run),
        pytest.raises(UserError, match=r"must have one trainer.*pid 4321"),
        locked(run),
    ):
        pass
    with locked(run):
        pass


def test_locked__a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    code = f"""
import os, time
from pathlib import Path
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.trainer import locked
with locked(RunDir(Path({str(run.path)!r}))):
    if os.fork() == 0:
        os.close(1)
        time.sleep(30)
        os._exit(0)
    print("held", flush=True)
    time.sleep(30)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with (run.path / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
    time.sleep(0.05)
    with locked(run):
        pass


def test_locked__clears_leftovers_and_old_requests(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    (run.checkpoints / ".tmp-00000002").mkdir()
    (run.path / ".tmp-status.json").touch()
    (run.control / "stop").touch()
    with locked(run):
        assert list(run.checkpoints.iterdir()) == []
        assert list(run.control.iterdir()) == []
        assert not (run.path / ".tmp-status.json").exists()


def test_is_held__only_while_a_trainer_works(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert not is_held(run)
    with locked(run):
        assert is_held(run)
    assert not is_held(run)


def test_locked__a_reader_that_looks_refuses_nobody(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with locked(run):
        pass
    with run.lock.open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)
        code = f"""
import sys
from pathlib import Path
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder import trainer
trainer.time.sleep = lambda seconds: (print("waits", flush=True), sys.stdin.readline())
with trainer.locked(RunDir(Path({str(run.path)!r}))):
    print("held")
"""
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            fcntl.flock(reader, fcntl.LOCK_UN)
            assert process.communicate("\n")[0] == "held\n"


def test_is_alive__this_process_until_it_was_born_too_late() -> None:
    born = creation_time(os.getpid()) or 0
    assert is_alive(os.getpid(), signed_at=time.time())
    assert not is_alive(os.getpid(), signed_at=born - 30)
    assert not is_alive(2**22 + 1, signed_at=time.time())


@pytest.mark.parametrize("pid", [-1, 2**31, 2**80])
def test_is_alive__a_number_that_is_no_process(pid: int) -> None:
    assert not is_alive(pid, signed_at=time.time())


def test_is_alive__the_id_given_to_another_process_is_not_the_trainer() -> None:
    born = creation_time(os.getpid()) or 0
    assert is_alive(os.getpid(), signed_at=time.time(), created=born)
    assert not is_alive(os.getpid(), signed_at=time.time(), created=born - 60)


def test_why_dead__a_process_that_signed_long_ago_lives(tmp_path: Path) -> None:
    run, born = RunDir(tmp_path), creation_time(os.getpid()) or 0
    assert why_dead(run, here(os.getpid(), heartbeat=born, process_started=born)) is None
    assert why_dead(run, here(os.getpid(), heartbeat=born)) is None


def test_why_dead__a_process_that_is_gone(tmp_path: Path, ended_pid: int) -> None:
    found = why_dead(RunDir(tmp_path), here(ended_pid, heartbeat=time.time()))
    assert found == f"process {ended_pid} no longer runs"


def test_why_dead__a_trainer_that_holds_the_lock_and_has_not_signed_lives(
    tmp_path: Path, ended_pid: int
) -> None:
    run = new_run(tmp_path)
    with locked(run):
        assert why_dead(run, here(ended_pid, heartbeat=time.time())) is None
    assert why_dead(run, here(ended_pid, heartbeat=time.time())) is not None


@pytest.mark.parametrize(
    ("now", "reason"),
    [(1009.0, None), (1011.0, "no sign of life from gpu-box for 11 s")],
    ids=["signs", "silent"],
)
def test_why_dead__another_host_is_judged_by_its_heartbeat(
    tmp_path: Path, now: float, reason: str | None
) -> None:
    status = Status("running", pid=os.getpid(), host="gpu-box", heartbeat=1000.0)
    assert why_dead(RunDir(tmp_path), status, now=now) == reason


def test_why_dead__another_host_that_seldom_signs_has_four_signatures(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "seldom")
    create_run(run, config_yaml="training: {heartbeat_seconds: 30}\n")
    status = Status("running", pid=os.getpid(), host="gpu-box", heartbeat=1000.0)
    assert why_dead(run, status, now=1119.0) is None
    assert why_dead(run, status, now=1121.0) == "no sign of life from gpu-box for 121 s"


def test_living_trainer__from_its_first_to_its_last_signature(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert living_trainer(run) is None
    status = StatusFile(run.status, steps=5, every=60)
    status.start()
    found = living_trainer(run)
    assert found is not None
    assert (found.pid, found.process_started) == (os.getpid(), creation_time(os.getpid()))
    status.close("finished")
    assert living_trainer(run) is None


def test_living_trainer__a_run_of_an_earlier_version(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    written = {"state": "running", "pid": os.getpid(), "host": this_host()}
    run.status.write_text(json.dumps({**written, "heartbeat": time.time()}))
    assert load_status(run.status).process_started is None
    assert living_trainer(run) is not None


def test_locked__removes_what_a_killed_evaluation_left(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    predictions = run.predictions_of(5)
    predictions.mkdir(parents=True)
    for name in (".tmp-77-student.jsonl.gz", "teacher.jsonl.gz"):
        (predictions / name).touch()
    with locked(run):
        assert [path.name for path in predictions.iterdir()] == ["teacher.jsonl.gz"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        pytest.param(errno.EROFS, "got one mounted read-only .* Mount it", id="read-only"),
        pytest.param(errno.EACCES, "got no right to .* Give this user the right", id="closed"),
        pytest.param(errno.ENOSPC, "got a full disk .* Make room", id="full"),
    ],
)
def test_locked__says_what_a_folder_is_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    run = new_run(tmp_path)

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number), str(run.lock))

    monkeypatch.setattr(trainer.os, "open", refuse)
    with pytest.raises(UserError, match=rf"^run folder must .*{words}.*resume {run.path}"):
        locked(run).__enter__()


def test_locked__a_disk_without_locks_is_no_second_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(trainer.fcntl, "flock", refuse)
    with pytest.raises(UserError, match=r"run folder must be written, got .*No locks available"):
        locked(new_run(tmp_path)).__enter__()


def sign_elsewhere(run: RunDir, heartbeat: float) -> None:
    signed = Status("running", pid=1, host="elsewhere", heartbeat=heartbeat)
    write_json(run.status, asdict(signed))


@contextmanager
def signing_elsewhere(run: RunDir, *, clock: float) -> Iterator[None]:
    """Sign as a trainer of another machine does, whose clock is off by so many seconds."""
    ended = threading.Event()

    def sign() -> None:
        while not ended.wait(0.05):
            sign_elsewhere(run, time.time() + clock)

    sign_elsewhere(run, time.time() + clock)
    thread = threading.Thread(target=sign)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("clock", [0, -7200, 7200], ids=["same", "behind", "ahead"])
def test_locked__refuses_while_another_machine_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    monkeypatch.setattr(trainer, "FOREIGN_HEARTBEAT_SECONDS", 5.0)
    monkeypatch.setattr(trainer, "_LOOK_SECONDS", 0.2)
    run = new_run(tmp_path)
    expected = r"still runs on another machine .*pid 1 on elsewhere.*touch .*control/stop"
    with signing_elsewhere(run, clock=clock), pytest.raises(UserError, match=expected):
        locked(run).__enter__()


@pytest.mark.parametrize("clock", [0, -7200, 7200], ids=["same", "behind", "ahead"])
def test_locked__takes_over_from_another_machine_that_signs_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    monkeypatch.setattr(trainer, "FOREIGN_HEARTBEAT_SECONDS", 0.4)
    monkeypatch.setattr(trainer, "_LOOK_SECONDS", 0.1)
    run = new_run(tmp_path)
    sign_elsewhere(run, time.time() + clock)
    with locked(run):
        assert is_held(run)


def test_locked__waits_for_four_signatures_of_a_run_that_seldom_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "FOREIGN_HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "_LOOK_SECONDS", 0.1)
    run = RunDir(tmp_path / "seldom")
    create_run(run, config_yaml="training: {heartbeat_seconds: 0.2}\n")
    sign_elsewhere(run, time.time())
    started = time.monotonic()
    with locked(run):
        assert time.monotonic() - started >= 0.8


def test_why_dead__a_signature_from_the_future_proves_nothing(tmp_path: Path) -> None:
    run, now = new_run(tmp_path), time.time()

    def why(heartbeat: float) -> str | None:
        return why_dead(run, Status("running", host="elsewhere", heartbeat=heartbeat), now=now)

    assert why(now + 30) is None
    assert why(now + 3600) == "signed 3600 s ahead of our clock by elsewhere"
