"""Trackers are told what TensorBoard is told, and never end a run."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared_runs import metrics

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from uda4inst.training import launch, trackers
from uda4inst.training.config import config_hash, load_config
from uda4inst.training.trackers import Trackers, require_trackers

pytestmark = pytest.mark.usefixtures("tiny_is_mini")

SHORT = ("training.stage1_steps=4", "training.stage2_steps=0", "training.tensorboard_every=2")
Overrides = Callable[..., list[str]]


class Recorder:
    """A tracker that keeps what it is told, or fails where it is asked to."""

    fails_at = ""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.told: list[tuple[int, dict[str, float]]] = []
        self.configuration: dict[str, Any] = {}
        self.calls: list[str] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_at:
            raise RuntimeError(f"the server is down at {name}\nand a page more")

    def start(self) -> None:
        self._called("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.configuration = values

    def log(self, values: dict[str, float], step: int) -> None:
        self._called("log")
        self.told.append((step, values))

    def finish(self) -> None:
        self._called("finish")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """Put recorders in the place of wandb; return those that were made."""
    found: list[Recorder] = []

    def make(**settings: Any) -> Recorder:
        found.append(Recorder(**settings))
        return found[-1]

    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "wandb", make)
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: name)
    return found


def trained(short_run: Overrides, root: Path, name: str, *more: str) -> RunDir:
    launch.train(load_config("toystreets_smoke", short_run(root, name, *SHORT, *more)))
    return RunDir(root / name)


def test_trackers__are_told_what_the_metrics_say(
    short_run: Overrides, tmp_path: Path, made: list[Recorder]
) -> None:
    run = trained(short_run, tmp_path, "a", "training.trackers=[wandb]")
    (tracker,) = made
    assert tracker.settings == {"run_name": "uda4inst", "name": "a"}
    assert tracker.configuration["config_hash"] == config_hash(load_config(run.config))
    assert tracker.configuration["data.crop"] == "[64, 128]"
    lines = {line["step"]: line for line in metrics(run)}
    assert [(step, values["loss"]) for step, values in tracker.told] == [
        (step, lines[step]["loss"]) for step in (0, 2)
    ]
    assert tracker.told[0][1]["losses/source/mask"] == lines[0]["losses"]["source/mask"]
    assert tracker.calls == ["start", "log", "log", "finish"]


@pytest.mark.parametrize("fails_at", ["start", "log", "finish"])
def test_trackers__one_that_fails_is_told_once_and_the_run_goes_on(
    short_run: Overrides,
    tmp_path: Path,
    made: list[Recorder],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fails_at: str,
) -> None:
    monkeypatch.setattr(Recorder, "fails_at", fails_at)
    with caplog.at_level(logging.WARNING, "uda4inst"):
        run = trained(short_run, tmp_path, "a", "training.trackers=[wandb]")
    told = [r.message for r in caplog.records if "tracker" in r.message]
    assert told == [
        f"tracker wandb is left out from here on: the server is down at {fails_at}. The run goes "
        "on; metrics.jsonl has everything."
    ]
    assert made[0].calls.count(fails_at) == 1
    assert len(metrics(run)) == 4


def test_trackers__change_neither_hash_nor_training(
    short_run: Overrides, tmp_path: Path, made: list[Recorder]
) -> None:
    runs = [
        trained(short_run, tmp_path, "a"),
        trained(short_run, tmp_path, "b", "training.trackers=[wandb]"),
    ]
    assert len(made) == 1
    assert metrics(runs[0]) == metrics(runs[1])
    hashes = {config_hash(load_config(run.config)) for run in runs}
    assert len(hashes) == 1


def test_require_trackers__names_what_is_missing(
    short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"got mlflow, trackio, which are not\. pip install"):
        require_trackers(["mlflow", "trackio"])
    with pytest.raises(UserError, match="got wandb, which is not"):
        trained(short_run, tmp_path, "a", "training.trackers=[wandb]")
    assert not (tmp_path / "a").exists()


@pytest.mark.filterwarnings("ignore")
def test_trackers__mlflow_itself(
    short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="needs mlflow, of the extra trackers")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    run = trained(short_run, tmp_path, "a", "training.trackers=[mlflow]")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        found = database.execute("select step, value from metrics where key = 'loss'").fetchall()
    losses = {line["step"]: line["loss"] for line in metrics(run)}
    assert sorted(found) == [(step, losses[step]) for step in (0, 2)]


def test_trackers__a_run_without_any(short_run: Overrides, tmp_path: Path) -> None:
    config = load_config("toystreets_smoke", short_run(tmp_path, "a"))
    none = Trackers(config, RunDir(tmp_path / "a"), step=0)
    none.log({"step": 0, "loss": 1.0})
    none.close()
