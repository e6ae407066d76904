from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder import start
from uda4inst.suites import machine
from uda4inst.suites.engines import Ending, Engine, Handle, Job, LocalEngine, open_engine


def job(tmp_path: Path, code: str, name: str = "job", **environment: str) -> Job:
    command = (sys.executable, "-c", code)
    return Job(name, command, tmp_path / "logs" / f"{name}.txt", tmp_path, environment)


def end_of(handle: Handle, *, seconds: float = 60) -> Ending:
    deadline = time.time() + seconds
    while (ending := handle.poll()) is None:
        assert time.time() < deadline, "did not end"
        time.sleep(0.02)
    return ending


SAY = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ['OMP_NUM_THREADS'])"
WAIT = (
    "import signal, sys, time, pathlib\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    "pathlib.Path('ready').touch()\n"
    "time.sleep(120)\n"
)


def test_local__exit_code_and_log(tmp_path: Path) -> None:
    engine = LocalEngine(at_once=1)
    ending = end_of(engine.start(job(tmp_path, "print('words'); raise SystemExit(3)")))
    assert ending.code == 3
    assert "cores" in ending.hardware
    assert (tmp_path / "logs" / "job.txt").read_text() == "words\n"


def test_local__a_device_each_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    engine = LocalEngine()
    assert engine.slots == 2
    handles = [engine.start(job(tmp_path, SAY, name)) for name in ("a", "b")]
    assert [end_of(handle).code for handle in handles] == [0, 0]
    end_of(engine.start(job(tmp_path, SAY, "c")))
    said = [(tmp_path / "logs" / f"{name}.txt").read_text().split() for name in "abc"]
    assert said == [["2", "3"], ["7", "3"], ["2", "3"]]


def test_local__one_at_a_time_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert LocalEngine().slots == 1
    assert LocalEngine(at_once=3).slots == 3


def test_local__threads_that_were_given_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert start.thread_settings(2) == {}
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert start.thread_settings(4) == {"OMP_NUM_THREADS": "1"}


def test_local__stop_asks_once(tmp_path: Path) -> None:
    handle = LocalEngine(at_once=1).start(job(tmp_path, WAIT))
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    handle.stop()
    handle.stop()
    assert end_of(handle).code == 143


@pytest.mark.parametrize(
    ("name", "at_once", "words"),
    [
        pytest.param("cloud", None, "--engine must be one of local, ray, slurm", id="unknown"),
        pytest.param("local", 0, "--at-once must be at least 1", id="none-at-once"),
    ],
)
def test_open_engine__refused(tmp_path: Path, name: str, at_once: int | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_engine(name, at_once=at_once, folder=tmp_path)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_open_engine__says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"the package {package}.*uda4inst\[cluster\]"):
        open_engine(name, at_once=None, folder=tmp_path)


def test_visible_gpus__are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1,4")
    assert machine.visible_gpus() == ("GPU-1", "4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert machine.visible_gpus() == ()


def test_visible_gpus__are_those_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho Card A\necho Card A\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.visible_gpus() == ("0", "1")
    assert machine.hardware().endswith("2 x Card A")


# Real engines; they are optional packages and take seconds to start ----------------------------


def check_engine(engine: Engine, tmp_path: Path) -> None:
    """One job ends well, one badly, one is asked to stop."""
    good = engine.start(job(tmp_path, "print('words')", "good"))
    bad = engine.start(job(tmp_path, "raise SystemExit(3)", "bad"))
    assert end_of(good).code == 0
    assert "cores" in end_of(good).hardware
    assert end_of(bad).code == 3
    assert (tmp_path / "logs" / "good.txt").read_text() == "words\n"
    waiting = engine.start(job(tmp_path, WAIT, "waiting"))
    while not (tmp_path / "ready").exists():
        assert waiting.poll() is None
        time.sleep(0.05)
    waiting.stop()
    assert end_of(waiting).code == 143


RAY = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_engines
from uda4inst.suites.engines import open_engine
engine = open_engine("ray", at_once=2, folder=Path({folder!r}))
test_engines.check_engine(engine, Path({folder!r}))
queued = [engine.start(test_engines.job(Path({folder!r}), test_engines.WAIT, str(i)))
          for i in range(4)]
for handle in queued:
    handle.stop()
codes = {{test_engines.end_of(handle).code for handle in queued}}
assert codes <= {{143, -15}}, codes
engine.close()
print("well")
"""


@pytest.mark.slow
def test_ray__a_local_cluster(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the cluster extra is not installed")
    # In a process of its own: Ray leaves threads, sockets and handlers behind.
    code = RAY.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("well")


SLURM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_engines
from uda4inst.suites.engines import SlurmEngine
test_engines.check_engine(SlurmEngine(Path({folder!r}), cluster="local"), Path({folder!r}))
print("well")
"""


@pytest.mark.slow
def test_slurm__submitits_local_executor(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="the cluster extra is not installed")
    code = SLURM.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("well")


def test_slurm__only_where_slurm_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="the cluster extra is not installed")
    monkeypatch.delenv("UDA4INST_SUBMITIT_CLUSTER", raising=False)
    with pytest.raises(UserError, match="must be started where Slurm's commands are"):
        open_engine("slurm", at_once=None, folder=tmp_path)
