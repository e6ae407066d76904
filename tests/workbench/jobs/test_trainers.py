from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.alive import creation_time, this_host
from uda4inst.training.config import load_config, to_yaml
from workbench.jobs.queue_records import QueueRecord, read_record, write_record
from workbench.jobs.trainers import Jobs
from workbench.stores.runs import RunStore

# What a trainer does, as far as jobs can see: sign, listen, end.
TRAINER = """
import json, os, pathlib, socket, sys, time
command, argument = sys.argv[1:3]
path = pathlib.Path(argument)
run = path.parent.parent.parent / path.parent.name if command == "train" else path
print("arguments:", sys.argv[1:], flush=True)
if "slow" in run.name:
    time.sleep(60)
if "fail" in run.name:
    sys.exit("data.source.root must exist, got nothing.")
(run / "control").mkdir(parents=True, exist_ok=True)
def sign(state):
    tmp = run / ".tmp-status.json"
    tmp.write_text(json.dumps({"state": state, "step": 1, "steps": 9, "pid": os.getpid(),
        "host": socket.gethostname(), "started": "", "heartbeat": time.time()}))
    tmp.replace(run / "status.json")
sign("running")
while not (run / "control" / "stop").exists():
    time.sleep(0.01)
(run / "control" / "stop").unlink()
sign("stopped")
"""


@pytest.fixture
def store(runs_root: Path) -> RunStore:
    return RunStore(runs_root)


@pytest.fixture
def jobs(store: RunStore, tmp_path: Path) -> Iterator[Jobs]:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    made = Jobs(store, trainer=(sys.executable, "-S", str(script)))
    yield made
    for child in made._children:
        child.kill()
        child.wait()


def wait_for(store: RunStore, state: str, name: str = "demo") -> Any:
    deadline = time.monotonic() + 20
    while store.status(name).state != state and time.monotonic() < deadline:
        time.sleep(0.01)
    status = store.status(name)
    assert status.state == state, status
    return status


def test_start__runs_until_stopped(jobs: Jobs, store: RunStore, runs_root: Path) -> None:
    jobs.start("demo", "seed: 1\n")
    assert store.status("demo").state in ("starting", "running")
    wait_for(store, "running")
    assert read_record(runs_root, "demo") is None
    assert "arguments: ['train'" in (runs_root / "demo" / "console.txt").read_text()
    jobs.request("demo", "stop")
    wait_for(store, "stopped")
    assert jobs.pending("demo") == []


def test_start__further_clicks_are_no_further_runs(jobs: Jobs, store: RunStore) -> None:
    jobs.set_at_once(3)
    assert jobs.start("slow", "", content="seed 1") == "slow"
    jobs._newest_since -= 60  # its trainer still starts
    assert jobs.start("slow_2", "", content="seed 1") == "slow"
    assert jobs.start("other", "", content="seed 2") == "other"
    assert jobs.start("other_2", "", content="seed 2") == "other"
    wait_for(store, "running", "other")
    jobs._newest_since -= 60
    assert jobs.start("other_2", "", content="seed 2") == "other_2"
    assert sorted(store.names()) == ["other", "other_2", "slow"]


def test_start__trainer_lives_in_a_session_of_its_own(jobs: Jobs, store: RunStore) -> None:
    jobs.start("demo", "")
    pid = wait_for(store, "running").pid
    assert psutil.Process(pid).ppid() == psutil.Process().pid
    assert os.getsid(pid) == pid


def test_start__failure_before_the_run_folder_is_told(jobs: Jobs, store: RunStore) -> None:
    jobs.start("fails", "")
    status = wait_for(store, "failed", "fails")
    assert "data.source.root must exist, got nothing." in str(status.error)
    jobs.start("fails", "")  # the name is still free
    jobs.reap()


@pytest.mark.parametrize("name", ["a/b", "..", "", "-x"])
def test_start__name_must_be_a_folder_name(jobs: Jobs, name: str, runs_root: Path) -> None:
    with pytest.raises(UserError, match=r"run\.name must be letters"):
        jobs.start(name, "")
    assert not runs_root.exists()


def test_start__name_must_be_new(jobs: Jobs, write_run: Callable[..., Path]) -> None:
    write_run(state="finished")
    with pytest.raises(UserError, match=r"run\.name must be new, got 'demo'"):
        jobs.start("demo", "")


def test_resume__passes_run_and_step(
    jobs: Jobs, store: RunStore, write_run: Callable[..., Path]
) -> None:
    run = write_run(steps=40, state="stopped", heartbeat=time.time() - 5)
    jobs.resume("demo", step=20)
    wait_for(store, "running")
    assert f"['resume', '{run}', '--from', '20']" in (run / "console.txt").read_text()


def write_whole_checkpoint(run: Path, step: int) -> None:
    folder = run / "checkpoints" / f"{step:08d}"
    folder.mkdir(exist_ok=True)
    facts = {"bytes": 4, "sha256": hashlib.sha256(b"made").hexdigest()}
    names = ("student.safetensors", "optimizer.pt", "state.pt")
    for name in names:
        (folder / name).write_bytes(b"made")
    files = dict.fromkeys(names, facts)
    manifest = {"step": step, "stage": 2, "architecture": {}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_resume__from_a_checkpoint_with_results_after_it_is_a_new_run(
    jobs: Jobs,
    store: RunStore,
    write_run: Callable[..., Path],
    state: str,
) -> None:
    run = write_run(steps=40, state=state, heartbeat=time.time() - 5)
    (run / "config.yaml").write_text(to_yaml(load_config("toystreets_smoke")))
    for step in (20, 40):
        write_whole_checkpoint(run, step)
    jobs.set_at_once(2)
    for number, name in enumerate(("demo_from_20", "demo_from_20_2")):
        assert jobs.resume("demo", step=20) == name
        assert jobs.resume("demo", step=20) == name  # a double click
        wait_for(store, "running", name)
        assert (
            f"['resume', '{run.parent / name}']" in (run.parent / name / "console.txt").read_text()
        )
        assert store.checkpoints(name) == [20]
        assert len(store.names()) == number + 2
        jobs._newest_since -= 60
    assert store.checkpoints("demo") == [20, 40]
    assert store.status("demo").state == state


@pytest.mark.parametrize(
    ("state", "step", "message"),
    [
        ("running", None, "must be stopped, dead or failed, 'demo' is running"),
        ("finished", None, "'demo' is finished"),
        ("stopped", 7, r"\(steps: 20\), got 7"),
    ],
)
def test_resume__refuses_what_cannot_go_on(
    jobs: Jobs, write_run: Callable[..., Path], state: str, step: int | None, message: str
) -> None:
    write_run(steps=40, state=state)
    with pytest.raises(UserError, match=message):
        jobs.resume("demo", step=step)


def test_request__leaves_a_file_for_the_trainer(jobs: Jobs, write_run: Callable[..., Path]) -> None:
    run = write_run()
    jobs.request("demo", "pause")
    jobs.request("demo", "snapshot")
    assert sorted(p.name for p in (run / "control").iterdir()) == ["pause", "snapshot"]
    assert jobs.pending("demo") == ["pause", "snapshot"]


def test_request__refused_where_nobody_listens(jobs: Jobs, write_run: Callable[..., Path]) -> None:
    run = write_run(state="finished")
    with pytest.raises(UserError, match="a run to pause must be running, 'demo' is finished"):
        jobs.request("demo", "pause")
    assert not list((run / "control").iterdir())


def test_request__trainer_that_is_starting_is_ended(jobs: Jobs, store: RunStore) -> None:
    jobs.start("slow", "")
    assert store.status("slow").state == "starting"
    jobs.request("slow", "stop")
    wait_for(store, "failed", "slow")


def test_request__starting_on_another_machine_is_left_alone(
    jobs: Jobs, write_run: Callable[..., Path]
) -> None:
    write_run(state="queued", host="gpu-box")
    with pytest.raises(UserError, match="on its own machine only, gpu-box"):
        jobs.request("demo", "stop")


def test_request__process_that_is_no_trainer_of_the_run_is_left_alone(
    jobs: Jobs, store: RunStore, runs_root: Path, write_run: Callable[..., Path]
) -> None:
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    since = creation_time(bystander.pid)
    write_run(state="queued", pid=bystander.pid, process_started=since)
    write_record(
        runs_root,
        QueueRecord("other", bystander.pid, this_host(), since or 0.0, argv=("train", "other")),
    )
    for name in ("demo", "other"):
        assert store.status(name).state in ("queued", "starting")
        with pytest.raises(UserError, match="must be the trainer of"):
            jobs.request(name, "stop")
    bystander.communicate(b"\n", timeout=20)
    assert bystander.returncode == 0


PEOPLE = "person-rider-motorcycle-bicycle"


def test_resume__several_groups_from_their_latest(
    jobs: Jobs, store: RunStore, write_grouped_run: Callable[..., Path]
) -> None:
    ended = {"state": "stopped", "heartbeat": time.time() - 5}
    run = write_grouped_run(modules=(ended, None), **ended)
    jobs.resume("demo")
    wait_for(store, "running")
    assert f"['resume', '{run}']" in (run / "console.txt").read_text()


def test_resume__several_groups_from_a_step_says_how(
    jobs: Jobs, write_grouped_run: Callable[..., Path]
) -> None:
    write_grouped_run(modules=({"state": "stopped"}, None), state="stopped")
    with pytest.raises(UserError, match=rf"latest checkpoints, got step 20.*{PEOPLE} --from 20"):
        jobs.resume("demo", step=20)


def test_stop__reaches_groups_that_outlived_their_run(
    jobs: Jobs, write_grouped_run: Callable[..., Path]
) -> None:
    run = write_grouped_run(modules=({}, {"state": "finished"}), heartbeat=1.0)
    with pytest.raises(UserError, match="still trains person, rider, motorcycle, bicycle"):
        jobs.resume("demo")
    jobs.request("demo", "stop")
    assert [p.name for p in (run / "modules" / PEOPLE / "control").iterdir()] == ["stop"]
    assert list((run / "control").iterdir()) == []


def test_request__of_several_groups_goes_to_the_run(
    jobs: Jobs, write_grouped_run: Callable[..., Path]
) -> None:
    run = write_grouped_run()
    jobs.request("demo", "stop")
    assert jobs.pending("demo") == ["stop"]
    assert not list((run / "modules" / PEOPLE / "control").iterdir())
