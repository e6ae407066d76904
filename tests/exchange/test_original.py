"""Our network against the authors' own, where detectron2 and their repository are there."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import original_mask2former as original
import pytest
import torch

from uda4inst.exchange.model_zoo import load_zoo, write_zoo, zoo_layout
from uda4inst.models.mask2former.network import count_parameters
from uda4inst.models.mask2former.presets import MODEL_PRESETS

pytestmark = [
    pytest.mark.skipif(original.missing() is not None, reason=str(original.missing())),
    pytest.mark.filterwarnings("ignore"),  # theirs
]


def as_pickle(network: Any, path: Path) -> None:
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    path.write_bytes(pickle.dumps({"model": tensors, "__author__": "a test"}))


def as_training(network: Any, path: Path) -> None:
    torch.save({"model": network.state_dict(), "iteration": 7}, path)


@pytest.mark.parametrize("preset", ["swin_t", "r50"])
@pytest.mark.parametrize(("suffix", "write"), [(".pkl", as_pickle), (".pth", as_training)])
def test_load_zoo__gives_the_authors_outputs(
    tmp_path: Path, preset: str, suffix: str, write: Callable[[Any, Path], None]
) -> None:
    torch.manual_seed(0)
    theirs = original.build(original.CONFIGS[preset])
    original.draw(theirs, seed=1)
    write(theirs, tmp_path / f"model{suffix}")

    ours = load_zoo(tmp_path / f"model{suffix}")

    assert (ours.preset.name, ours.num_classes) == (preset, 80)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    assert count_parameters(ours) == sum(p.numel() for p in trained)
    for size in ((128, 192), (100, 150)):  # the second is padded
        images = torch.rand(2, 3, *size)
        classes, masks = original.logits(theirs, images)
        with torch.no_grad():
            found = ours(images)
        for wanted, got in zip(classes, found.class_logits, strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)
        for wanted, got in zip(masks, found.mask_logits, strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("preset", original.CONFIGS)
def test_zoo_layout__is_the_authors(preset: str) -> None:
    theirs = original.build(original.CONFIGS[preset]).state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in theirs.items()}

    assert zoo_layout(MODEL_PRESETS[preset], 80) | {"criterion.empty_weight": (81,)} == wanted


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
@pytest.mark.parametrize(
    "config",
    [
        original.CONFIGS["swin_t"],
        original.CONFIGS["r50"],
        "cityscapes/instance-segmentation/maskformer2_R50_bs16_90k.yaml",  # batch norms, not frozen
    ],
)
def test_write_zoo__is_loaded_by_detectron2_whole(tmp_path: Path, config: str, suffix: str) -> None:
    checkpoints: Any = importlib.import_module("detectron2.checkpoint")
    theirs = original.build(config)
    original.draw(theirs, seed=2)
    as_training(theirs, tmp_path / "a.pth")
    write_zoo(load_zoo(tmp_path / "a.pth"), tmp_path / f"b{suffix}")

    other = original.build(config)
    checkpoints.DetectionCheckpointer(other).load(str(tmp_path / f"b{suffix}"))

    found = other.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(("task", "classes"), [("instance", 8), ("panoptic", 19), ("semantic", 19)])
def test_load_zoo__takes_heads_of_every_task(tmp_path: Path, task: str, classes: int) -> None:
    theirs = original.build(
        f"cityscapes/{task}-segmentation/swin/maskformer2_swin_tiny_bs16_90k.yaml"
    )
    as_pickle(theirs, tmp_path / "model.pkl")

    assert load_zoo(tmp_path / "model.pkl").num_classes == classes
