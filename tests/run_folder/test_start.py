from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from uda4inst.run_folder.alive import creation_time
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.start import (
    STOPPED_CODES,
    ask_to_end,
    device_settings,
    resume_arguments,
    start,
    train_arguments,
)

SAY = "import os; print(os.getsid(0) == os.getpid(), os.environ['SAID'], os.getcwd())"
COUNT_SIGNALS = """
import pathlib, signal, sys, time
signals = []
signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
pathlib.Path("ready").touch()
while not signals:
    time.sleep(0.01)
time.sleep(0.2)
sys.exit(10 + len(signals))
"""
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
PARENT = """
import sys
from pathlib import Path
from uda4inst.run_folder.start import start
child = start(sys.argv[1:], console=Path("console.txt"), ends_with_parent=True)
print(child.pid, flush=True)
"""


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def test_arguments__of_a_new_run_and_one_that_goes_on(tmp_path: Path) -> None:
    assert train_arguments(Path("a.yaml")) == ("train", "a.yaml")
    assert resume_arguments(RunDir(tmp_path)) == ("resume", str(tmp_path))
    assert resume_arguments(RunDir(tmp_path), step=0) == ("resume", str(tmp_path), "--from", "0")


def test_device_settings__one_or_the_process_own() -> None:
    assert device_settings("GPU-1") == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert device_settings(None) == {}


def test_start__own_session_environment_folder_and_console(tmp_path: Path) -> None:
    console = tmp_path / "logs" / "console.txt"
    for _ in range(2):
        child = start(
            [sys.executable, "-c", SAY],
            console=console,
            environment={"SAID": "words"},
            folder=tmp_path,
        )
        assert child.wait() == 0
    assert console.read_text() == f"True words {tmp_path}\n" * 2


def test_stop__is_one_signal_however_often_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", COUNT_SIGNALS]
    child = start(command, console=tmp_path / "c.txt", folder=tmp_path)
    wait_for(tmp_path / "ready")
    assert child.poll() is None
    child.stop()
    child.stop()
    assert child.wait() == 11
    child.stop()  # ended: nothing to do


def test_kill__ends_at_once(tmp_path: Path) -> None:
    child = start(
        [sys.executable, "-S", "-c", "import time; time.sleep(60)"], console=tmp_path / "c"
    )
    child.kill()
    assert child.wait() == -signal.SIGKILL


WAITING = "import time; time.sleep(60)"


def test_ask_to_end__the_process_that_is_meant_and_no_other(tmp_path: Path) -> None:
    child = start([sys.executable, "-S", "-c", WAITING, "train", "x"], console=tmp_path / "c")
    since = creation_time(child.pid)
    assert since is not None
    mine = [["resume", "x"], ["train", "x"]]
    assert not ask_to_end(child.pid, started=since + 60, any_of=mine)
    assert not ask_to_end(child.pid, started=since - 60, any_of=mine)
    assert not ask_to_end(child.pid, started=since, any_of=[["train", "y"], ["x", "train"]])
    assert child.poll() is None
    assert ask_to_end(child.pid, started=since, any_of=mine)
    assert child.wait() in STOPPED_CODES
    assert not ask_to_end(child.pid, started=since, any_of=mine)


def test_ask_to_end__a_process_that_has_just_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = psutil.Process.cmdline
    asked = itertools.count()
    monkeypatch.setattr(psutil.Process, "cmdline", lambda p: told(p) if next(asked) > 3 else [])
    child = start([sys.executable, "-S", "-c", WAITING, "train", "x"], console=tmp_path / "c")
    since = creation_time(child.pid)
    assert since is not None
    assert ask_to_end(child.pid, started=since, any_of=[["train", "x"]])
    assert child.wait() in STOPPED_CODES


def test_ask_to_end__with_the_processes_it_has_started(tmp_path: Path) -> None:
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {WAITING!r}]); "
    code += "print(p.pid, flush=True); p.wait()"
    child = start([sys.executable, "-S", "-c", code, "check"], console=tmp_path / "c")
    while not (tmp_path / "c").read_text().endswith("\n"):
        assert child.poll() is None
    below = int((tmp_path / "c").read_text())
    since = creation_time(child.pid) or 0.0
    assert ask_to_end(child.pid, started=since, any_of=[["check"]], group=True)
    assert child.wait() in STOPPED_CODES
    psutil.wait_procs([psutil.Process(below)] if psutil.pid_exists(below) else [], timeout=20)
    assert creation_time(below) is None


@pytest.mark.skipif(sys.platform != "linux", reason="asked of Linux' prctl")
def test_start__ends_with_its_parent(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT, *SLEEP],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if "zombie" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()
