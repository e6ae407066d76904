"""Whole runs with the tiny network: repeated, stopped, killed and resumed, always to the bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from compared_runs import metrics, plain, repeated_content
from mini_network import TINY_MINI
from safetensors.torch import load_file

from uda4inst import atomic
from uda4inst.errors import UserError
from uda4inst.models.mask2former.criterion import Criterion, CriterionLosses
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder import checkpoints as checkpoint_module
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.trainer import living_trainer
from uda4inst.training import forks, launch
from uda4inst.training.config import load_config
from uda4inst.training.journal import RunFailedError

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("tiny_is_mini")]

Overrides = Callable[..., list[str]]
DRIVER = Path(__file__).parents[1] / "support" / "interrupted_trainer.py"
PRESET = "toystreets_smoke"


def train(overrides: list[str]) -> RunDir:
    config = load_config(PRESET, overrides)
    outcome = launch.train(config)
    assert outcome.state == "finished"
    return RunDir(Path(config.run.root) / config.run.name)


@pytest.fixture(scope="module")
def unbroken(short_run: Overrides, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
        return train(short_run(tmp_path_factory.mktemp("runs"), "unbroken"))


def status(run: RunDir) -> dict[str, Any]:
    return json.loads(run.status.read_text())


def assert_same_end(run: RunDir, reference: RunDir) -> None:
    assert status(run)["state"] == "finished"
    assert metrics(run) == metrics(reference)
    last = (reference.checkpoints / "latest").read_text().strip()
    assert (run.checkpoints / "latest").read_text().strip() == last
    for name in ("student.safetensors", "teacher.safetensors"):
        one, other = (load_file(r.checkpoints / last / name) for r in (run, reference))
        assert one.keys() == other.keys()
        assert [k for k in one if not torch.equal(one[k], other[k])] == []
    for name in ("optimizer.pt", "state.pt"):
        one, other = (
            torch.load(r.checkpoints / last / name, weights_only=True) for r in (run, reference)
        )
        assert plain(one) == plain(other)
    for folder in ("evaluation", "snapshots", "checkpoints"):
        entries = [sorted(p.name for p in (r.path / folder).iterdir()) for r in (run, reference)]
        assert entries[0] == entries[1]
    results = [json.loads(r.evaluation_of(20).read_text())["results"] for r in (run, reference)]
    assert results[0] == results[1]


def assert_same_files(run: RunDir, reference: RunDir) -> None:
    one, other = (repeated_content(r.path) for r in (run, reference))
    for content in (one, other):
        del content["config.yaml"]  # each has its own name
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


def everything(run: RunDir) -> dict[str, bytes]:
    """Every file of a run's results."""
    parts = ("checkpoints", "evaluation", "snapshots", "metrics.jsonl", "config.yaml")
    files = [path for part in parts for path in (run.path / part, *(run.path / part).rglob("*"))]
    return {str(f.relative_to(run.path)): f.read_bytes() for f in files if f.is_file()}


def wait_for(condition: Callable[[], bool], *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the trainer did not get there"
        time.sleep(0.02)


def steps_done(run: RunDir) -> int:
    return len(run.metrics.read_text().splitlines()) if run.metrics.exists() else 0


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a trainer as a process of its own, in its own process group."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def test_run__same_seed_same_numbers(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path
) -> None:
    assert_same_end(train(short_run(tmp_path, "again")), unbroken)
    counts = [line["pseudo_labels"] for line in metrics(unbroken) if line["stage"] == 2]
    assert any(any(count.values()) for count in counts)
    assert metrics(unbroken)[-1]["pool"] > 0


def test_run__another_seed_other_numbers(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path
) -> None:
    other = train(
        short_run(tmp_path, "other", "seed=1", "training.stage1_steps=1", "training.stage2_steps=1")
    )
    assert metrics(other)[0]["loss"] != metrics(unbroken)[0]["loss"]


def test_run__stopped_by_request_and_resumed(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path
) -> None:
    config = load_config(PRESET, short_run(tmp_path, "halved"))
    run = RunDir(tmp_path / "halved")

    def stop_at_10(progress: launch.Progress) -> None:
        if progress.step == 10:
            (run.control / "stop").touch()

    assert launch.train(config, watch=stop_at_10) == launch.Outcome("stopped", 10)
    assert (status(run)["state"], status(run)["step"]) == ("stopped", 10)
    assert launch.resume(run).state == "finished"
    assert_same_end(run, unbroken)


def test_run__stopped_in_its_last_evaluation_is_judged_when_it_goes_on(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path
) -> None:
    config = load_config(PRESET, short_run(tmp_path, "unjudged"))
    run = RunDir(tmp_path / "unjudged")

    def stop_when_judged(progress: launch.Progress) -> None:
        if progress.step == 20 and progress.message.startswith("Evaluating"):
            (run.control / "stop").touch()

    assert launch.train(config, watch=stop_when_judged) == launch.Outcome("stopped", 20)
    assert status(run)["state"] == "stopped"
    assert not run.evaluation_of(20).exists()
    assert launch.resume(run) == launch.Outcome("finished", 20)
    assert_same_end(run, unbroken)


POINTS = (
    "before-the-first-checkpoint",
    "after-the-stage-boundary",
    "in-stage-2",
    "while-writing-a-checkpoint",
    "before-latest-moves",
    "before-an-old-checkpoint-goes",
    "while-evaluating",
    "in-the-middle-of-a-line",
)


@pytest.fixture(scope="module")
def killed(short_run: Overrides, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    """Return a run for each point at which its process was killed."""
    root = tmp_path_factory.mktemp("killed")

    def kill_at(point: str) -> RunDir:
        marker = root / f"{point}.marker"
        arguments = (point, str(marker), "train", PRESET, *short_run(root, point))
        with process(str(DRIVER), *arguments) as child:
            wait_for(lambda: marker.exists() or child.poll() is not None)
            assert child.poll() is None, child.communicate()[1]
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
        return RunDir(root / point)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(POINTS, pool.map(kill_at, POINTS), strict=True))


@pytest.mark.parametrize("point", POINTS)
def test_run__killed_and_resumed(unbroken: RunDir, killed: dict[str, RunDir], point: str) -> None:
    run = killed[point]
    assert status(run)["state"] == "running"
    assert launch.resume(run).state == "finished"
    assert_same_end(run, unbroken)
    assert_same_files(run, unbroken)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_run__signal_saves_and_stops(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = RunDir(tmp_path / "signalled")
    # The terminal sends Ctrl-C to loader processes too.
    overrides = short_run(tmp_path, "signalled", "data.workers=1")
    arguments = ("nowhere", "-", "train", PRESET, *overrides)
    with process(str(DRIVER), *arguments) as child:
        wait_for(lambda: steps_done(run) >= 6 or child.poll() is not None)
        with pytest.raises(UserError, match=f"must have one trainer.*pid {child.pid}"):
            launch.resume(run)
        os.killpg(child.pid, number)
        output = child.communicate(timeout=30)[1]
    assert child.returncode == code, output
    assert "Traceback" not in output
    step = status(run)["step"]
    assert status(run)["state"] == "stopped"
    assert (run.checkpoints / "latest").read_text() == f"{step:08d}\n"
    assert f"uda4inst resume {run.path}" in output
    assert launch.resume(run).state == "finished"
    # The extra checkpoint may have pushed out another one.
    shutil.rmtree(run.checkpoints / f"{step:08d}", ignore_errors=True)
    assert metrics(run) == metrics(unbroken)
    one, other = (
        load_file(r.checkpoints / "00000020/student.safetensors") for r in (run, unbroken)
    )
    assert [k for k in one if not torch.equal(one[k], other[k])] == []


def test_run__paused_resumed_and_snapshot_on_request(short_run: Overrides, tmp_path: Path) -> None:
    overrides = short_run(tmp_path, "paused", "training.snapshot_every=0")
    run = RunDir(tmp_path / "paused")
    config = load_config(PRESET, overrides)
    outcomes: list[launch.Outcome] = []

    def pause_at_3(progress: launch.Progress) -> None:
        if progress.step == 3 and not progress.message:
            (run.control / "pause").touch()

    thread = threading.Thread(
        target=lambda: outcomes.append(launch.train(config, watch=pause_at_3))
    )
    thread.start()
    wait_for(lambda: run.status.exists() and status(run)["state"] == "paused")
    signed = status(run)["heartbeat"]
    wait_for(lambda: status(run)["heartbeat"] > signed + 0.3)
    assert (status(run)["state"], steps_done(run)) == ("paused", 3)
    (run.control / "snapshot").touch()
    (run.control / "resume").touch()
    thread.join()
    assert outcomes == [launch.Outcome("finished", 20)]
    assert sorted(p.name for p in run.snapshots.iterdir()) == ["00000003"]
    assert list(run.control.iterdir()) == []


def test_run__target_labels_never_reach_training(
    unbroken: RunDir, short_run: Overrides, toy: Path, tmp_path: Path
) -> None:
    poisoned = tmp_path / "toy"
    shutil.copytree(toy, poisoned)
    for path in (poisoned / "cityscapes" / "gtFine" / "train").rglob("*.png"):
        path.write_bytes(b"not a label map")
    run = train(short_run(tmp_path, "poisoned", data=poisoned))
    assert_same_end(run, unbroken)


def test_run__losing_every_target_label_changes_nothing(
    unbroken: RunDir, short_run: Overrides, toy: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "toy"
    shutil.copytree(toy, bare)
    shutil.rmtree(bare / "cityscapes" / "gtFine" / "train")
    config = load_config(PRESET, short_run(tmp_path, "bare", "training.stage2_steps=2", data=bare))
    launch.train(config)
    # Another length is another schedule: only what comes before it can be compared.
    first = metrics(RunDir(tmp_path / "bare"))[:8]
    assert first == metrics(unbroken)[:8]


def test_run__stage_2_from_a_checkpoint(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path
) -> None:
    start = f"training.stage2_from={unbroken.checkpoints / '00000008'}"
    run = train(short_run(tmp_path, "second", start))
    assert [line["stage"] for line in metrics(run)] == [2] * 12
    assert sorted(p.name for p in run.evaluation.glob("*.json")) == ["00000012.json"]
    # The same start: what stage 2 of the unbroken run began with, before its first update.
    loaded = load_file(unbroken.checkpoints / "00000008" / "student.safetensors")
    assert loaded.keys() == load_file(run.checkpoints / "00000012/student.safetensors").keys()


def test_run__non_finite_loss_stops_and_saves_the_batch(
    short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    real = Criterion.many

    def poisoned(self: Criterion, *arguments: Any, **keywords: Any) -> list[CriterionLosses]:
        losses = real(self, *arguments, **keywords)
        if next(calls) == 6:
            nan = losses[0].mask_loss * float("nan")
            losses[0] = type(losses[0])(**(vars_of(losses[0]) | {"mask_loss": nan}))
        return losses

    run = RunDir(tmp_path / "nan")
    expected = r"source/mask = nan.*gradient norm.*at step 6"
    with monkeypatch.context() as patch:
        patch.setattr(Criterion, "many", poisoned)
        with pytest.raises(RunFailedError, match=expected) as caught:
            train(short_run(tmp_path, "nan"))
    assert status(run)["state"] == "failed"
    assert status(run)["error"] == str(caught.value)
    batch = torch.load(run.failed_batch / "batch.pt", weights_only=True)
    assert all(sample["sample_id"] in str(caught.value) for sample in batch["source"])
    assert (run.checkpoints / "latest").read_text() == "00000005\n"
    assert steps_done(run) == 6
    assert launch.resume(run).state == "finished"


def vars_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_run__full_disk_fails_clearly_and_resumes(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoint_module.write_synced

    def full(path: Path, content: bytes) -> None:
        if path.name == "state.pt" and "00000010" in path.parent.name:
            raise OSError(28, "No space left on device")
        real(path, content)

    run = RunDir(tmp_path / "full")
    expected = "checkpoint of step 10 must fit on the disk"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "write_synced", full)
        with pytest.raises(UserError, match=expected):
            train(short_run(tmp_path, "full"))
    assert status(run)["state"] == "failed"
    assert "goes on from step 8" in status(run)["error"]
    assert launch.resume(run).state == "finished"
    assert_same_end(run, unbroken)


def test_run__a_slow_disk_takes_time_and_nothing_else(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, run = atomic._sync, RunDir(tmp_path / "slow")
    waited: list[Path] = []

    def slow(path: Path) -> None:
        time.sleep(0.15)
        real(path)
        waited.append(path)
        if run.status.exists() and run.metrics.exists():
            assert living_trainer(run) is not None or status(run)["state"] == "finished"

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_sync", slow)
        train(short_run(tmp_path, "slow"))
    assert {"state.pt", "optimizer.pt", "00000020"} <= {
        path.name.removeprefix(".tmp-") for path in waited
    }
    assert_same_files(run, unbroken)


def test_run__a_clock_that_is_set_changes_nothing(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, run, looks = time.time, RunDir(tmp_path / "clock"), iter(range(10**9))
    hours = (0, 5, -5, 1)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + 3600 * hours[next(looks) % len(hours)])
        train(short_run(tmp_path, "clock"))
    assert_same_files(run, unbroken)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert all(0 < line["images_per_second"] < 1e4 for line in lines)


def test_resume__from_an_older_checkpoint_moves_aside_what_came_after(
    unbroken: RunDir, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "older")
    shutil.copytree(unbroken.path, run.path)
    newest = run.checkpoints / "00000020" / "student.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    before = everything(run)
    with pytest.raises(UserError, match=r"student\.safetensors truncated.*--from 15 --replace"):
        launch.resume(run)
    with pytest.raises(UserError, match=r"has checkpoints 20; evaluations 20; .*fork.*--replace"):
        launch.resume(run, step=15)
    assert everything(run) == before
    assert launch.resume(run, step=15, may_replace=True).state == "finished"
    assert_same_end(run, unbroken)
    (aside,) = (run.path / "replaced").iterdir()
    moved = everything(RunDir(aside))
    assert moved.items() <= before.items()
    lost = {name for name in before if "00000020" in name}
    assert lost <= moved.keys()
    assert {"metrics.jsonl", "config.yaml"} <= moved.keys()


def test_resume__unreadable_metrics_touch_nothing(unbroken: RunDir, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "unreadable")
    shutil.copytree(unbroken.path, run.path)
    run.metrics.unlink()
    run.metrics.mkdir()
    before = everything(run)
    with pytest.raises(UserError, match=r"metrics\.jsonl must be a readable file.*Nothing was"):
        launch.resume(run, step=15, may_replace=True)
    assert everything(run) == before


def test_resume__a_line_of_metrics_that_is_none_stays(unbroken: RunDir, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "unreadable")
    shutil.copytree(unbroken.path, run.path)
    lines = run.metrics.read_bytes().splitlines(keepends=True)
    run.metrics.write_bytes(b"".join([*lines[:2], b'{"step": \n', *lines[2:]]))
    assert launch.resume(run, step=15, may_replace=True).state == "finished"
    again = run.metrics.read_bytes().splitlines(keepends=True)
    assert (again[:3], len(again)) == ([*lines[:2], b'{"step": \n'], len(lines) + 1)


@pytest.mark.parametrize("step", [8, 15])
def test_fork__ends_as_the_run_it_comes_from(unbroken: RunDir, tmp_path: Path, step: int) -> None:
    before = everything(unbroken)
    new, begins = forks.fork(unbroken, "fork", root=tmp_path, step=step)
    assert begins == step
    begun = status(new)
    stage = json.loads((new.checkpoints / f"{step:08d}" / "manifest.json").read_text())["stage"]
    assert (begun["state"], begun["step"], begun["stage"]) == ("stopped", step, stage)
    assert json.loads(new.parent.read_text())["run"] == str(unbroken.path)
    assert launch.resume(new).state == "finished"
    assert_same_end(new, unbroken)
    assert everything(unbroken) == before
    with pytest.raises(UserError, match=r"run\.name must be new, got 'fork'"):
        forks.fork(unbroken, "fork", root=tmp_path)


def test_fork__of_a_step_without_checkpoint_leaves_nothing(
    unbroken: RunDir, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"checkpoint must be one of the run's .*got step 7"):
        forks.fork(unbroken, "fork", root=tmp_path, step=7)
    assert list(tmp_path.iterdir()) == []


def test_resume__a_finished_run_has_nothing_to_do(unbroken: RunDir, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "finished")
    shutil.copytree(unbroken.path, run.path)
    assert launch.resume(run) == launch.Outcome("finished", 20)
    assert_same_end(run, unbroken)


def test_resume__checkpoint_of_another_architecture(unbroken: RunDir, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "swin")
    shutil.copytree(unbroken.path, run.path)
    run.config.write_text(run.config.read_text().replace("preset: tiny", "preset: swin_t"))
    with pytest.raises(UserError, match="checkpoint must be of architecture preset swin_t"):
        launch.resume(run)


def test_train__mistakes_leave_nothing_behind(short_run: Overrides, tmp_path: Path) -> None:
    for more in (
        "data.target.root=nowhere",
        "data.val.root=nowhere",
        "model.weights=no/such.st",
        "training.stage2_from=nowhere",
    ):
        with pytest.raises(UserError):
            launch.train(load_config(PRESET, short_run(tmp_path, "bad", more)))
    assert list(tmp_path.iterdir()) == []


def test_train__refuses_a_run_that_exists(unbroken: RunDir, short_run: Overrides) -> None:
    before = unbroken.status.read_bytes()
    with pytest.raises(UserError, match=r"run\.name must be new"):
        launch.train(load_config(PRESET, short_run(unbroken.path.parent, "unbroken")))
    assert unbroken.status.read_bytes() == before
