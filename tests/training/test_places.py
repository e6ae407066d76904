"""A run that goes on elsewhere: its data in other folders, and one message about what differs."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir, create_run
from uda4inst.suites.expand import stage1_hash
from uda4inst.training.config import config_hash, load_config, to_yaml
from uda4inst.training.groups import category_groups
from uda4inst.training.groups.modules import modules_of
from uda4inst.training.places import move_run, what_differs
from uda4inst.training.schema import Config

pytestmark = pytest.mark.usefixtures("tiny_is_mini")

Overrides = Callable[..., list[str]]
SIDES = ("source", "target", "val")


def roots(folder: Path) -> list[str]:
    names = {"source": "urbansyn", "target": "cityscapes", "val": "cityscapes"}
    return [f"data.{side}.root={folder / names[side]}" for side in SIDES]


def settings(config: Config) -> list[str]:
    return [getattr(config.data, side).root for side in SIDES]


@pytest.fixture
def run(short_run: Overrides, tmp_path: Path) -> RunDir:
    """Return a run of five steps, with a checkpoint after two, that has finished."""
    more = ("training.stage1_steps=5", "training.stage2_steps=0", "training.checkpoint_every=2")
    category_groups.train(load_config("toystreets_smoke", short_run(tmp_path, "a", *more)))
    return RunDir(tmp_path / "a")


def copied(run: RunDir, toy: Path, to: Path, *, images: int = 8) -> tuple[RunDir, Path]:
    """Copy a run and its data to where nothing of the old places is named."""
    shutil.copytree(run.path, to / "run")
    shutil.copytree(toy, to / "data")
    pictures = sorted((to / "data/cityscapes/leftImg8bit/train").rglob("*.png"))
    for path in pictures[images:]:
        path.unlink()
    return RunDir(to / "run"), to / "data"


def test_resume__on_another_machine(
    run: RunDir, toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved, data = copied(run, toy, tmp_path / "there")
    entry = json.loads(moved.command.read_text())
    entry |= {"host": "lab3", "device": "NVIDIA H100", "versions": {"torch": "2.10.9"}}
    moved.command.write_text(json.dumps(entry))
    with caplog.at_level(logging.WARNING, "uda4inst"):
        category_groups.resume(moved, step=2, may_replace=True, overrides=roots(data))
    (message,) = [r.message for r in caplog.records if "elsewhere" in r.message]
    for part in (", was lab3", "device cpu, was NVIDIA H100", ", was 2.10.9", str(data)):
        assert part in message
    assert "not to the bit" in message
    assert "as many images" not in message
    assert "has changed since" not in caplog.text
    config = load_config(moved.config)
    assert settings(config) == [root.partition("=")[2] for root in roots(data)]
    assert config_hash(config) == config_hash(load_config(run.config))
    weights = [load_file(r.checkpoints / "00000005/student.safetensors") for r in (run, moved)]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])


def test_resume__in_the_same_place_says_nothing(
    run: RunDir, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "uda4inst"):
        category_groups.resume(run, step=2, may_replace=True)
    assert "elsewhere" not in caplog.text


def test_resume__data_with_fewer_images_are_told(
    run: RunDir, toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved, data = copied(run, toy, tmp_path / "there", images=7)
    with caplog.at_level(logging.WARNING, "uda4inst"):
        category_groups.resume(moved, step=4, may_replace=True, overrides=roots(data))
    (message,) = [r.message for r in caplog.records if "elsewhere" in r.message]
    assert "images of target 7, was 8" in message
    assert "as many images" in message
    assert "not to the bit" not in message


def test_resume__names_the_remedy_where_data_are_missing(run: RunDir, tmp_path: Path) -> None:
    path = run.config
    path.write_text(path.read_text().replace("/toy/", "/gone/"))
    with pytest.raises(UserError, match=r"uda4inst resume .* data\.source\.root=FOLDER"):
        category_groups.resume(run, step=2, may_replace=True)


def test_what_differs__processes_of_the_checkpoint_and_not_of_the_start(run: RunDir) -> None:
    now = json.loads(run.command.read_text())
    assert what_differs(run, now, written_by=1) is None
    assert "processes 1, was 2" in (what_differs(run, now, written_by=2) or "")


def test_what_differs__a_run_from_before_it_was_kept(run: RunDir) -> None:
    now = json.loads(run.command.read_text())
    run.command.write_text(json.dumps({"commit": now["commit"], "versions": now["versions"]}))
    assert what_differs(run, now, written_by=1) is None
    run.command.write_text("no JSON")
    assert what_differs(run, now, written_by=1) is None


@pytest.mark.parametrize("setting", ["optim.lr=1", "run.name=b", "data.crop=[32,32]", "nothing"])
def test_move_run__refuses_what_changes_results(run: RunDir, setting: str) -> None:
    before = run.config.read_text()
    with pytest.raises(UserError, match="must be given settings that change no results"):
        move_run(run, ["training.log_every=3", setting])
    assert run.config.read_text() == before


def test_move_run__knows_where_it_began_and_forgets_it_there(run: RunDir, tmp_path: Path) -> None:
    began = load_config(run.config)
    for place in ("b", "c"):
        move_run(run, [f"data.val.root={tmp_path / place}"])
    moved = load_config(run.config)
    assert (moved.data.val.root, moved.data.val.moved_from) == (
        str(tmp_path / "c"),
        began.data.val.root,
    )
    move_run(run, [f"data.val.root={began.data.val.root}"])
    assert load_config(run.config) == began


def test_move_run__keeps_what_suites_know_a_stage_1_by(
    short_run: Overrides, tmp_path: Path
) -> None:
    config = load_config("toystreets_smoke", short_run(tmp_path, "s"))
    run = RunDir(tmp_path / "s")
    create_run(run, config_yaml=to_yaml(config))
    move_run(run, [f"data.source.root={tmp_path}"])
    moved = load_config(run.config)
    assert moved.data.source.root != config.data.source.root
    assert stage1_hash(moved) == stage1_hash(config)


def test_move_run__all_category_groups(short_run: Overrides, tmp_path: Path) -> None:
    config = load_config("toystreets_smoke", short_run(tmp_path, "g", "method.groups=two"))
    run = RunDir(tmp_path / "g")
    category_groups._create(run, config)
    move_run(run, [f"data.val.root={tmp_path}", "training.log_every=7"])
    for folder in (run, *modules_of(run)):
        moved = load_config(folder.config)
        assert (moved.data.val.root, moved.training.log_every) == (str(tmp_path), 7)
