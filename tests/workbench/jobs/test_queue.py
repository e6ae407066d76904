"""What waits for its turn: order, places, and what is left of it when the app is gone."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from workbench.jobs.queue import Queue, Waiting, queue_path, read_queue
from workbench.jobs.trainers import Jobs
from workbench.stores.runs import RunStore

# Signs, and works until it is asked to stop.
TRAINER = """
import json, os, pathlib, socket, sys, time
command, argument = sys.argv[1:3]
path = pathlib.Path(argument)
run = path.parent.parent.parent / path.parent.name if command == "train" else path
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
Start = Callable[[], Jobs]


@pytest.fixture
def store(runs_root: Path) -> RunStore:
    return RunStore(runs_root)


@pytest.fixture
def opened(store: RunStore, tmp_path: Path) -> Iterator[Start]:
    """Opens an app's jobs, as often as it is restarted."""
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    made: list[Jobs] = []

    def start() -> Jobs:
        made.append(Jobs(store, trainer=(sys.executable, "-S", str(script))))
        return made[-1]

    yield start
    for child in [child for jobs in made for child in jobs._children]:
        child.kill()
        child.wait()


def until(store: RunStore, name: str, state: str) -> None:
    deadline = time.monotonic() + 20
    while store.status(name).state != state and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.status(name).state == state


def order(store: RunStore) -> list[str]:
    return [one.name for one in store.queue().waiting]


def three(jobs: Jobs, store: RunStore) -> None:
    """Start a run, and two that wait behind it."""
    for name in ("a", "b", "c"):
        jobs.start(name, "seed: 1\n")
    until(store, "a", "running")


def test_start__one_at_a_time_and_the_next_when_it_ends(opened: Start, store: RunStore) -> None:
    jobs = opened()
    three(jobs, store)
    assert [store.status(name).state for name in "bc"] == ["queued", "queued"]
    assert store.status("c").message == "place 2 of 2 in the queue"
    assert not store.is_free("b")
    assert set(store.names()) == {"a", "b", "c"}
    jobs.advance()
    assert order(store) == ["b", "c"]
    jobs.request("a", "stop")
    until(store, "a", "stopped")
    jobs.advance()
    until(store, "b", "running")
    assert order(store) == ["c"]
    assert store.status("c").state == "queued"


def test_queue__moved_and_cancelled(opened: Start, store: RunStore, runs_root: Path) -> None:
    jobs = opened()
    three(jobs, store)
    jobs.start("d", "")
    jobs.move("d", -1)
    assert order(store) == ["b", "d", "c"]
    jobs.move("d", -9)
    jobs.move("b", 9)
    assert order(store) == ["d", "c", "b"]
    jobs.request("c", "stop")
    assert order(store) == ["d", "b"]
    assert store.is_free("c")
    assert not (runs_root / ".queue" / "c").exists()
    for refused in (
        lambda: jobs.move("a", 1),
        lambda: jobs.cancel("c"),
        lambda: jobs.start_now("a"),
    ):
        with pytest.raises(UserError, match="must wait in the queue"):
            refused()


def test_start_now__beside_what_is_at_work(opened: Start, store: RunStore) -> None:
    jobs = opened()
    three(jobs, store)
    jobs.start_now("c")
    until(store, "c", "running")
    assert order(store) == ["b"]
    assert store.status("a").state == "running"


def test_set_at_once__more_begin(opened: Start, store: RunStore) -> None:
    jobs = opened()
    three(jobs, store)
    jobs.set_at_once(3)
    jobs.advance()
    for name in "bc":
        until(store, name, "running")
    for wrong in (0, 17, 1.5, True):
        with pytest.raises(UserError, match="whole number from 1 to 16"):
            jobs.set_at_once(wrong)


def test_queue__outlives_the_app(opened: Start, store: RunStore, runs_root: Path) -> None:
    first = opened()
    first.set_at_once(2)
    for name in ("a", "b", "c", "d"):
        first.start(name, f"name: {name}\n")
    for name in "ab":
        until(store, name, "running")
    again = RunStore(runs_root)
    assert (again.queue().at_once, order(again)) == (2, ["c", "d"])
    second = opened()  # without a word of the first
    second.request("a", "stop")
    until(store, "a", "stopped")
    second.advance()
    first.advance()  # both live for a moment: it is begun once
    until(store, "c", "running")
    assert order(store) == ["d"]
    assert sum(store.status(name).state == "running" for name in "abcd") == 2


def test_advance__killed_between_start_and_note_begins_nothing_twice(
    opened: Start, store: RunStore, runs_root: Path
) -> None:
    jobs = opened()
    jobs.start("a", "")
    text = json.dumps({
        "at_once": 2,
        "waiting": [{"name": "a", "command": "train", "step": None, "asked": time.time() - 60}],
    })  # fmt: skip
    queue_path(runs_root).write_text(text)
    if store.status("a").state == "starting":
        jobs.advance()
        assert len(jobs._children) == 1
        assert order(store) == []


def test_keep_advancing__without_a_browser(opened: Start, store: RunStore) -> None:
    jobs = opened()
    three(jobs, store)
    end = jobs.keep_advancing(every=0.02)
    jobs.request("a", "stop")
    until(store, "b", "running")
    end()


def test_advance__what_cannot_begin_says_why_and_lets_others_pass(
    opened: Start, store: RunStore, runs_root: Path, tmp_path: Path
) -> None:
    jobs = opened()
    data = tmp_path / "data"
    data.mkdir()
    jobs.start("a", "")
    jobs.start("unconfigured", "")
    jobs.start("dataless", f"data: {{source: {{root: {data}}}}}\n")
    jobs.start("taken", "")
    jobs.start("last", "")
    assert store.status("dataless").error is None
    (runs_root / ".queue" / "unconfigured" / "wanted.yaml").unlink()
    data.rmdir()
    (runs_root / "taken").mkdir()
    (runs_root / "taken" / "config.yaml").touch()
    for name, words in (
        ("unconfigured", "Its configuration is gone"),
        ("dataless", f"Its data.source is gone ({data})"),
        ("taken", "A run of this name is there meanwhile"),
    ):
        status = store.status(name)
        assert status.state == "queued"
        assert words in str(status.error)
    until(store, "a", "running")
    jobs.request("a", "stop")
    until(store, "a", "stopped")
    jobs.advance()
    until(store, "last", "running")
    assert order(store) == ["unconfigured", "dataless", "taken"]
    with pytest.raises(UserError, match=r"must have all that it needs: Its data\.source is gone"):
        jobs.start_now("dataless")


def test_resume__waits_too_and_says_when_its_run_went_away(
    opened: Start, store: RunStore, write_run: Callable[..., Path]
) -> None:
    jobs = opened()
    jobs.start("a", "")
    run = write_run(steps=40, state="stopped", heartbeat=time.time() - 5)
    jobs.resume("demo")
    status = store.status("demo")
    assert (status.state, status.step, status.error) == ("queued", 40, None)
    shutil.rmtree(run)
    assert "The run that was to go on is gone" in str(store.status("demo").error)
    jobs.cancel("demo")
    assert "demo" not in store.names()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param('{"at_once": 0, "waiting": []}', id="none at once"),
        pytest.param('{"at_once": true, "waiting": []}', id="a truth for a number"),
        pytest.param('{"at_once": 1, "waiting": [{"name": "a"}]}', id="half an entry"),
        pytest.param(
            '{"at_once": 1, "waiting": [{"name": "../a", "command": "train", "step": null, '
            '"asked": 1}]}',
            id="a name that leads elsewhere",
        ),
    ],
)
def test_read_queue__damaged_is_one_message_and_runs_stay_readable(
    text: str, opened: Start, store: RunStore, runs_root: Path, write_run: Callable[..., Path]
) -> None:
    write_run(state="finished")
    queue_path(runs_root).parent.mkdir()
    queue_path(runs_root).write_text(text)
    with pytest.raises(UserError, match=r"queue must be as the app wrote it.*Delete the file"):
        read_queue(queue_path(runs_root))
    with pytest.raises(UserError, match="queue must be as the app wrote it"):
        opened().start("new", "")
    assert store.names() == ["demo"]


def test_queue__holds_no_more_than_anybody_means() -> None:
    full = Queue(1, tuple(Waiting(f"r{i}", "train", None, 0.0) for i in range(1000)))
    with pytest.raises(UserError, match="at most 1000 runs"):
        full.with_last(Waiting("more", "train", None, 0.0))
