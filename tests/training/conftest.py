"""Networks and runs small enough for many of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uda4inst.data.toystreets.write import write_toystreets
from uda4inst.models.mask2former import Mask2Former
from uda4inst.models.presets import MODEL_PRESETS

# Scripts that tests start share this folder's modules.
sys.path.insert(0, str(Path(__file__).parent))

from mini_network import MINI, TINY_MINI


@pytest.fixture
def make_mini() -> Callable[..., Mask2Former]:
    def make(seed: int = 0, num_classes: int = 8) -> Mask2Former:
        torch.manual_seed(seed)
        return Mask2Former(MINI, num_classes=num_classes)

    return make


@pytest.fixture
def tiny_is_mini(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the mini network in the place of the tiny preset."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ToyStreets of eight images a domain, 64x128."""
    out = tmp_path_factory.mktemp("data") / "toy"
    write_toystreets(out, size=(64, 128), train=8, val=2, seed=0, workers=0)
    return out


@pytest.fixture(scope="session")
def short_run(toy: Path) -> Callable[..., list[str]]:
    """Return the overrides of a run of 8 + 12 steps, checkpoints every 5, with pseudo-labels."""

    def overrides(root: Path, name: str, *more: str, data: Path = toy) -> list[str]:
        return [
            f"run.root={root}",
            f"run.name={name}",
            f"data.source.root={data}/urbansyn",
            f"data.target.root={data}/cityscapes",
            f"data.val.root={data}/cityscapes",
            "data.crop=[64, 128]",
            "data.short_sides=[64, 72]",
            "model.weights=null",
            "model.num_points=256",
            # Untrained networks are sure of nothing: this lets pseudo-labels through.
            "method.score_threshold=0.07",
            "method.pool.rare_classes=[person, car]",
            "training.stage1_steps=8",
            "training.stage2_steps=12",
            "training.checkpoint_every=5",
            "training.checkpoints_kept=3",
            "training.snapshot_every=4",
            "training.tensorboard_every=0",
            "training.heartbeat_seconds=0.1",
            "training.device=cpu",
            "optim.warmup_steps=2",
            "evaluation.stage1=true",
            *more,
        ]

    return overrides
