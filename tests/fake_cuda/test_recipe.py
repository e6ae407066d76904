"""The pre-training recipe on the stand-in: cut there, it goes on without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_cuda.device import Device
from safetensors.torch import load_file

from recipes.toystreets_start import PretrainRecipe, pretrain_toystreets

pytestmark = [pytest.mark.fake_cuda, pytest.mark.usefixtures("tiny_is_mini")]

RECIPE = PretrainRecipe(
    steps=3,
    clean_steps=1,
    small_steps=1,
    batch_size=1,
    size=(64, 128),
    small_size=(48, 96),
    warmup_steps=2,
    num_points=64,
)


class Cut(Exception):
    """Ends a pre-training as a kill would."""


def cut(done: int, _steps: int, _loss: float) -> None:
    if done == 2:
        raise Cut


def test_pretrain_toystreets__on_a_device_and_on_without_one(gpu: Device, tmp_path: Path) -> None:
    out, reference = tmp_path / "start.safetensors", tmp_path / "reference.safetensors"
    pretrain_toystreets(reference, recipe=RECIPE, workers=0)
    with pytest.raises(Cut):
        pretrain_toystreets(
            out, recipe=RECIPE, workers=0, device="cuda", save_every=1, progress=cut
        )
    pretrain_toystreets(out, recipe=RECIPE, workers=0)
    expected = load_file(reference)
    for name, tensor in load_file(out).items():
        torch.testing.assert_close(tensor, expected[name], rtol=2e-3, atol=2e-3)
