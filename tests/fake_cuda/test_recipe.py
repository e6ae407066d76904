"""The pre-training recipe on the stand-in: cut there, it goes on without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_cuda.device import Device

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


def test_pretrain_toystreets__on_a_device_and_on_without_one(gpu: Device, tmp_path: Path) -> None:
    here: list[float] = []
    there: list[float] = []

    def note(_done: int, _steps: int, loss: float) -> None:
        here.append(loss)

    def note_and_cut(done: int, _steps: int, loss: float) -> None:
        there.append(loss)
        if done == 2:
            raise Cut

    def go_on(_done: int, _steps: int, loss: float) -> None:
        there.append(loss)

    out = tmp_path / "start.safetensors"
    pretrain_toystreets(tmp_path / "reference.safetensors", recipe=RECIPE, workers=0, progress=note)
    with pytest.raises(Cut):
        pretrain_toystreets(
            out, recipe=RECIPE, workers=0, device="cuda", save_every=1, progress=note_and_cut
        )
    pretrain_toystreets(out, recipe=RECIPE, workers=0, progress=go_on)
    # The last state saved is that of step 1: step 2 is done again, then step 3.
    assert there[:2] == pytest.approx(here[:2], rel=1e-3)
    assert there[2:] == pytest.approx(here[3 - len(there[2:]) :], rel=1e-3)
    assert len(there) > 2
