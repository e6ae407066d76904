"""Shared test set-up: shapes and types of the core are checked at run time, threads are few."""

from __future__ import annotations

import os
import sys
import tempfile

os.environ["UDA4INST_CACHE"] = tempfile.mkdtemp(prefix="uda4inst-cache-")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

if "fake_cuda" in sys.argv:  # asked for by its marker
    os.environ["FAKE_CUDA"] = "1"  # for the processes that share the tests out
if "FAKE_CUDA" in os.environ:  # before torch has looked for a GPU
    from fake_cuda import library

    if not library.missing():
        library.load()

from jaxtyping import install_import_hook

# Every annotated array in these packages is checked against its declared type and shape.
install_import_hook(
    [
        "uda4inst.structures",
        "uda4inst.detections",
        "uda4inst.ops",
        "uda4inst.uda",
        "uda4inst.methods",
    ],
    "beartype.beartype",
)

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mini_network import MINI, TINY_MINI

# Where there is no card, kernels in Triton run in its interpreter, which it asks when imported.
if "FAKE_CUDA" in os.environ or not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.toystreets.write import write_toystreets


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
