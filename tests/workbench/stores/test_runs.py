from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.alive import creation_time
from workbench.jobs.queue import Queue, Waiting, write_queue
from workbench.jobs.queue_records import QueueRecord, read_record, write_record
from workbench.stores.beginnings import tail_of
from workbench.stores.runs import RunStore

WriteRun = Callable[..., Path]


@pytest.fixture
def store(runs_root: Path) -> RunStore:
    return RunStore(runs_root)


@pytest.fixture(scope="module")
def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_names__no_folder_is_no_run(store: RunStore) -> None:
    assert store.names() == []
    assert store.summaries() == []


def test_names__newest_change_first_half_written_last(
    store: RunStore, write_run: WriteRun, runs_root: Path
) -> None:
    for age, name in enumerate(("new", "old")):
        status = write_run(name, steps=2) / "status.json"
        os.utime(status, (1e9 - age, 1e9 - age))
    (runs_root / "half").mkdir()
    (runs_root / ".queue").mkdir()
    assert store.names() == ["new", "old", "half"]


def test_has__what_names_has(store: RunStore, write_run: WriteRun, runs_root: Path) -> None:
    assert not store.has("run")
    write_run("run")
    (runs_root / "half").mkdir()
    (runs_root / "odd name").mkdir()
    record = QueueRecord(name="begins", pid=1, host="elsewhere", started=1.0, argv=())
    write_record(runs_root, record)
    write_queue(runs_root, Queue(1, (Waiting("waits", "train", None, 0.0),)))
    assert sorted(store.names()) == ["begins", "half", "run", "waits"]
    asked = ("run", "half", "begins", "waits", "odd name", "", "..", ".queue", "gone", 300 * "a")
    assert [name for name in asked if store.has(name)] == ["run", "half", "begins", "waits"]


def test_names__runs_at_work_keep_their_places(store: RunStore, write_run: WriteRun) -> None:
    for number, name in enumerate(("first", "second")):
        begun = time.time() - 300 + number
        os.utime(write_run(name) / "config.yaml", (begun, begun))
    for signing in ("first", "second", "first"):
        os.utime(store.dir(signing).status)
        assert store.names() == ["second", "first"]


def test_newest_first__nothing_a_run_does_moves_it(
    store: RunStore, write_run: WriteRun, runs_root: Path
) -> None:
    for number, name in enumerate(("first", "second")):
        os.utime(write_run(name) / "config.yaml", (1e9 + number, 1e9 + number))
    for signing, at in (("second", 1.5e9), ("first", 1.6e9)):
        os.utime(store.dir(signing).status, (at, at))
        assert store.newest_first() == ["second", "first"]
    assert store.names() == ["first", "second"]
    (runs_root / "half").mkdir()
    assert store.newest_first() == ["second", "first", "half"]


def test_newest_first__run_that_begins_is_the_first_from_its_start(
    store: RunStore, write_run: WriteRun, runs_root: Path
) -> None:
    os.utime(write_run("demo2") / "config.yaml", (1e9, 1e9))
    make_record(runs_root, pid=os.getpid(), started=1.5e9)
    assert store.newest_first() == ["demo", "demo2"]
    (runs_root / "demo").mkdir()  # its configuration is written a moment later
    assert store.newest_first() == ["demo", "demo2"]
    os.utime(write_run("demo") / "config.yaml", (1.6e9, 1.6e9))
    assert store.newest_first() == ["demo", "demo2"]


@pytest.mark.parametrize("state", ["finished", "failed", "stopped"])
def test_status__ended_states_are_believed(
    store: RunStore, write_run: WriteRun, state: str, ended_pid: int
) -> None:
    write_run(state=state, pid=ended_pid)
    assert store.status("demo").state == state


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_status__live_states_need_their_process(
    store: RunStore, write_run: WriteRun, state: str, ended_pid: int
) -> None:
    write_run("alive", state=state)
    write_run("gone", state=state, pid=ended_pid)
    assert store.status("alive").state == state
    gone = store.status("gone")
    assert gone.state == "dead"
    assert gone.eta_seconds is None
    assert f"process {ended_pid} no longer runs" in str(gone.error)
    assert "Restart it from its last checkpoint." in str(gone.error)


def test_status__process_that_got_the_id_later_is_another(
    store: RunStore, write_run: WriteRun
) -> None:
    write_run(heartbeat=(creation_time(os.getpid()) or 0) - 60)
    assert store.status("demo").state == "dead"


def test_status__other_host_is_judged_by_its_heartbeat(
    runs_root: Path, write_run: WriteRun
) -> None:
    write_run(host="gpu-box", heartbeat=1000.0)
    assert RunStore(runs_root, clock=lambda: 1009.0).status("demo").state == "running"
    late = RunStore(runs_root, clock=lambda: 1011.0).status("demo")
    assert late.state == "dead"
    assert "gpu-box" in str(late.error)


def test_status__killed_trainer_shows_as_dead_at_once(store: RunStore, write_run: WriteRun) -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    write_run(pid=process.pid)
    assert store.status("demo").state == "running"
    process.kill()
    # Not waited for: a zombie is as dead as one that was.
    deadline = time.monotonic() + 10
    while store.status("demo").state == "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert store.status("demo").state == "dead"
    process.wait()


def test_status__folder_without_status_is_incomplete(store: RunStore, runs_root: Path) -> None:
    (runs_root / "half").mkdir(parents=True)
    status = store.status("half")
    assert status.state == "incomplete"
    assert "status.json is missing" in str(status.error)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"step": 1}', '{"state": "dancing"}', "\x00\x01"],
    ids=["empty", "cut", "list", "no-state", "unknown-state", "binary"],
)
def test_status__damaged_status_is_incomplete(
    store: RunStore, write_run: WriteRun, text: str
) -> None:
    (write_run() / "status.json").write_text(text)
    assert store.status("demo").state == "incomplete"
    assert store.summary("demo").name == "demo"


@pytest.mark.parametrize("name", ["a/b", "../up", "", ".hidden", "a b", "/etc"])
def test_status__name_that_is_no_folder_name_is_refused(store: RunStore, name: str) -> None:
    with pytest.raises(UserError, match=r"run\.name must be"):
        store.status(name)


def test_folder__unknown_run_lists_the_known(store: RunStore, write_run: WriteRun) -> None:
    write_run("first")
    with pytest.raises(UserError, match=r"\(first\), got 'second'"):
        store.folder("second")


def test_summary__method_and_newest_ap(store: RunStore, write_run: WriteRun) -> None:
    write_run(steps=40, evaluated=True)
    summary = store.summary("demo")
    assert summary.method == "uda4inst"
    assert summary.ap == {"student": 0.31, "teacher": pytest.approx(0.33)}
    assert summary.ap_step == 40


def test_summary__damaged_evaluation_and_config_are_left_out(
    store: RunStore, write_run: WriteRun
) -> None:
    run = write_run(steps=40, evaluated=True)
    (run / "evaluation" / "00000040.json").write_text("{")
    (run / "config.yaml").write_text("a: [")
    summary = store.summary("demo")
    assert (summary.ap, summary.method) == ({}, "")


def test_config__is_read_again_when_it_changes(store: RunStore, write_run: WriteRun) -> None:
    path = write_run() / "config.yaml"
    assert store.setting("demo", "method.score_threshold") == 0.9
    assert store.setting("demo", "method.nothing.here") is None
    path.write_text("method: {score_threshold: 0.5}\n")
    assert store.setting("demo", "method.score_threshold") == 0.5


def test_checkpoints__only_complete_ones(
    store: RunStore, write_run: WriteRun, factories: Any
) -> None:
    run = write_run(steps=40)
    factories.write_checkpoint(run, 40)
    (run / "checkpoints" / "00000050").mkdir()
    (run / "checkpoints" / ".tmp-00000060").mkdir()
    assert store.checkpoints("demo") == [20, 40]


def test_tail_of__last_lines_without_rewritten_progress(tmp_path: Path) -> None:
    path = tmp_path / "console.txt"
    path.write_bytes(b"first\n" + b"x" * 50 + b"\n10%\r50%\r100%\nlast\n")
    assert tail_of(path, lines=2) == "100%\nlast"
    assert tail_of(path, lines=9, most_bytes=20) == "100%\nlast"


def test_tail__log_before_console(store: RunStore, write_run: WriteRun) -> None:
    run = write_run()
    (run / "console.txt").write_text("from the console\n")
    assert store.tail("demo", lines=1) == "07:00:29 step 29"
    (run / "log.txt").unlink()
    assert store.tail("demo") == "from the console"


def make_record(root: Path, *, pid: int, started: float) -> None:
    write_record(
        root,
        QueueRecord(
            name="demo",
            pid=pid,
            host=socket.gethostname(),
            started=started,
            argv=("train",),
        ),
    )


def since() -> float:
    created = creation_time(os.getpid())
    assert created is not None
    return created


def test_status__started_process_starts_until_it_signs(
    store: RunStore, runs_root: Path, factories: Any
) -> None:
    runs_root.mkdir()
    make_record(runs_root, pid=os.getpid(), started=since())
    assert store.names() == ["demo"]
    assert store.status("demo").state == "starting"
    assert not store.is_free("demo")
    factories.write_run(runs_root, steps=3)
    assert store.status("demo").state == "running"
    assert read_record(runs_root, "demo") is None


def test_status__process_of_another_time_is_not_the_one_that_was_started(
    store: RunStore, runs_root: Path
) -> None:
    make_record(runs_root, pid=os.getpid(), started=since() + 60)
    assert store.status("demo").state == "failed"


def test_status__process_that_never_signed_failed_with_its_words(
    store: RunStore, runs_root: Path, ended_pid: int
) -> None:
    (runs_root / "demo").mkdir(parents=True)
    (runs_root / "demo" / "console.txt").write_text("data.source.root must exist\n")
    make_record(runs_root, pid=ended_pid, started=time.time())
    status = store.status("demo")
    assert status.state == "failed"
    assert status.error == "data.source.root must exist"
    assert store.is_free("demo")


def test_status__resuming_process_hides_the_old_state(
    store: RunStore, runs_root: Path, write_run: WriteRun
) -> None:
    write_run(steps=20, state="stopped", pid=1, heartbeat=since() - 60)
    make_record(runs_root, pid=os.getpid(), started=since())
    status = store.status("demo")
    assert (status.state, status.step, status.steps) == ("starting", 20, 400)


PEOPLE, VEHICLES = "person-rider-motorcycle-bicycle", "car-truck-bus-train"


def states(store: RunStore) -> dict[str, str]:
    return {module.group: module.status.state for module in store.modules("demo")}


def test_modules__are_no_runs_of_their_own(
    store: RunStore, write_grouped_run: WriteRun, write_run: WriteRun
) -> None:
    write_grouped_run()
    write_run("single", steps=2)
    assert sorted(store.names()) == ["demo", "single"]
    assert store.summary("demo").groups == [PEOPLE, VEHICLES]
    assert (store.summary("single").groups, store.modules("single")) == ([], [])


def test_modules__finished_running_and_waiting(
    store: RunStore, write_grouped_run: WriteRun
) -> None:
    write_grouped_run(modules=({"steps": 120, "state": "finished"}, None))
    assert states(store) == {PEOPLE: "finished", VEHICLES: "waiting"}
    assert store.modules("demo")[1].status.steps == 120
    assert store.status("demo").state == "running"


@pytest.mark.parametrize(("state", "expected"), [("running", "waiting"), ("stopped", "stopped")])
def test_modules__stopped_one_waits_while_the_run_is_live(
    store: RunStore, write_grouped_run: WriteRun, state: str, expected: str
) -> None:
    write_grouped_run(modules=({}, {"state": "stopped", "heartbeat": 1e9}), state=state)
    assert states(store)[VEHICLES] == expected


def test_modules__killed_one_is_dead_though_its_run_lives(
    store: RunStore, write_grouped_run: WriteRun, ended_pid: int
) -> None:
    write_grouped_run(modules=({"pid": ended_pid}, {}))
    assert store.status("demo").state == "running"
    assert states(store) == {PEOPLE: "dead", VEHICLES: "running"}


def test_modules__dead_with_their_run(
    store: RunStore, write_grouped_run: WriteRun, ended_pid: int
) -> None:
    write_grouped_run(modules=({"pid": ended_pid}, None), pid=ended_pid)
    assert store.status("demo").state == "dead"
    assert "Restart it from its last checkpoint." in str(store.status("demo").error)
    assert states(store) == {PEOPLE: "dead", VEHICLES: "waiting"}


def test_modules__with_processes_of_their_own_may_outlive_the_run(
    store: RunStore, write_grouped_run: WriteRun, ended_pid: int
) -> None:
    write_grouped_run(pid=ended_pid)
    assert store.status("demo").state == "dead"
    assert states(store) == {PEOPLE: "running", VEHICLES: "running"}


def test_can_resume__several_groups_without_a_checkpoint_too(
    store: RunStore, write_grouped_run: WriteRun, runs_root: Path
) -> None:
    write_grouped_run(modules=(None, None))
    (runs_root / "half").mkdir()
    assert store.can_resume("demo")
    assert not store.can_resume("half")
