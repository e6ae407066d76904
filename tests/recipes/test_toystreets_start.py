from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recipes.neutral import NeutralScenes, NeutralStream, PretrainRecipe
from recipes.toystreets_start import RECIPES, pretrain_toystreets
from uda4inst.models.semantic.build import build_semantic
from uda4inst.models.semantic.start import load_start

# Clean, then photographed scenes; small, then larger ones.
RECIPE = PretrainRecipe(
    steps=4,
    clean_steps=2,
    small_steps=3,
    batch_size=1,
    size=(64, 128),
    small_size=(48, 96),
    warmup_steps=2,
    num_points=64,
)


class Cut(Exception):
    """Ends a pre-training as a kill would."""


def cut_at(step: int) -> Callable[[int, int, float], None]:
    def progress(done: int, _steps: int, _loss: float) -> None:
        if done == step:
            raise Cut

    return progress


def test_pretrain_toystreets__goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    pretrain_toystreets(whole, recipe=RECIPE, workers=0)
    with pytest.raises(Cut):
        pretrain_toystreets(cut, recipe=RECIPE, workers=0, save_every=2, progress=cut_at(3))
    assert not cut.exists()
    seen: list[int] = []
    pretrain_toystreets(
        cut, recipe=RECIPE, workers=0, progress=lambda step, _steps, _loss: seen.append(step)
    )
    assert seen == [3, 4]
    expected, found = load_file(whole), load_file(cut)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert sorted(path.name for path in tmp_path.glob("cut*")) == ["cut.json", "cut.safetensors"]


@pytest.mark.parametrize("kind", ["mit", "resnet"])
def test_pretrain_toystreets__of_a_semantic_network_keeps_the_backbone(
    tmp_path: Path, kind: str
) -> None:
    recipe = replace(RECIPE, preset=RECIPES[kind].preset, batch_size=2, judged=3)
    out = pretrain_toystreets(tmp_path / "start.safetensors", recipe=recipe, workers=0)
    network, _ = build_semantic(recipe.preset, weights=None)
    report = load_start(network, out, source="a test")
    assert report.loaded == len(load_file(out))
    judged = json.loads(out.with_suffix(".json").read_text())["neutral_val"]
    assert (judged["images"], judged["protocol"]) == (3, "pixels")
    assert 0 <= judged["mIoU"] <= 1


def test_neutral_scenes__are_no_scenes_of_the_stream() -> None:
    scenes = NeutralScenes(2, size=RECIPE.size, seed=0)
    stream = NeutralStream(RECIPE)
    assert len(scenes) == 2
    assert scenes.read_image(0).shape == (*RECIPE.size, 3)
    assert scenes.read_semantic(0).shape == RECIPE.size
    shown, *_, classes = stream[len(stream) - 1]
    assert shown.shape[:2] == classes.shape == torch.Size(RECIPE.size)
    assert not any((scenes.read_image(k) == shown.numpy()).all() for k in range(2))


def test_pretrain_toystreets__writes_what_made_it(tmp_path: Path) -> None:
    out = pretrain_toystreets(tmp_path / "new" / "start.safetensors", recipe=RECIPE, workers=0)
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["recipe"]["steps"] == 4
    assert facts["recipe"]["size"] == [64, 128]
    assert {t.dtype for t in load_file(out).values()} == {torch.float16}
