"""Runs with checkpoints of networks that were never trained, and a small ToyStreets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uda4inst.models.network import Network
from uda4inst.run_folder.checkpoints import Contents, save_checkpoint
from uda4inst.run_folder.layout import RunDir, command_entry, create_run, record_command
from uda4inst.toystreets.write import write_toystreets
from uda4inst.training.config import Config, config_hash, load_config, to_yaml
from uda4inst.training.groups.category_groups import evaluate
from uda4inst.training.groups.modules import module_config

MakeRun = Callable[..., RunDir]


def fresh(config: Config, seed: int) -> Network:
    torch.manual_seed(seed)
    return config.task.build_network(config.model.preset, weights=None)[0]


def fill(run: RunDir, config: Config, step: int) -> None:
    create_run(run, config_yaml=to_yaml(config))
    record_command(run, command_entry({}))
    contents = Contents(
        step=step,
        stage=2,
        networks={"student": fresh(config, 1), "teacher": fresh(config, 2)},
        optimizer={"state": {}},
        state={"processes": [{}]},
        config_hash=config_hash(config),
        kept=True,
    )
    save_checkpoint(run.checkpoints, contents, kept=1)


@pytest.fixture
def make_run(short_run: Callable[..., list[str]], tmp_path: Path, tiny_is_mini: None) -> MakeRun:
    """Make a run with a student and a teacher at a step."""

    def make(*overrides: str, preset: str = "toystreets_smoke", step: int = 20) -> RunDir:
        settings = short_run(tmp_path / "runs", "made", *overrides)
        if preset != "toystreets_smoke":
            settings = [s for s in settings if not s.startswith(("method.", "model.num"))]
        config = load_config(preset, settings)
        run = RunDir(tmp_path / "runs" / "made")
        if len(config.category_groups) == 1:
            fill(run, config, step)
            return run
        create_run(run, config_yaml=to_yaml(config))
        for group in config.category_groups:
            own = module_config(config, group)
            fill(RunDir(Path(own.run.root) / own.run.name), own, step)
        return run

    return make


@pytest.fixture
def evaluated_run(make_run: MakeRun) -> RunDir:
    """Return a run of instances that was evaluated on both of its images."""
    run = make_run()
    evaluate(run)
    return run


@pytest.fixture(scope="session")
def toystreets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder: `urbansyn` and `cityscapes`, three images each and four of val."""
    root = tmp_path_factory.mktemp("toystreets") / "data"
    write_toystreets(root, size=(96, 192), train=3, val=4, seed=3, workers=0)
    return root
