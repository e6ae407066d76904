"""The presets of the paper's benchmarks start on trees of the published formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_trees import write_tree

from uda4inst.errors import UserError
from uda4inst.methods.uda4inst import UDA4InstConfig
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import load_config, preset_names
from uda4inst.training.groups import category_groups
from uda4inst.training.loop import Outcome

SOURCES = ("urbansyn", "synscapes", "synthia")
TARGETS = ("cityscapes", "kitti360")
# A small network in the place of Swin-L, whose weights are a download; two steps of small crops.
SMALL = (
    "model.preset=tiny",
    "model.weights=null",
    "model.num_points=64",
    "data.crop=[64, 128]",
    "data.short_sides=[64]",
    "data.workers=0",
    "training.stage1_steps=1",
    "training.stage2_steps=1",
    "training.precision=fp32",
    "training.device=cpu",
    "training.tensorboard_every=0",
    "evaluation.short_side=null",
)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_preset__needs_the_two_roots_alone(source: str, target: str) -> None:
    config = load_config(
        f"{source}_{target}", ["data.source.root=/data/source", "data.target.root=/data/target"]
    )
    assert (config.data.val.root, config.data.val.format) == ("/data/target", target)
    assert config.data.val.split == "val"
    assert config.data.source.format == source


@pytest.mark.parametrize(
    ("source", "weights", "rare"),
    [
        ("urbansyn", (0.4, 0.6), ("train", "motorcycle")),
        ("synscapes", (0.75, 0.25), ("train", "motorcycle")),
        ("synthia", (0.4, 0.6), ("bus", "motorcycle")),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_preset__values_are_the_papers(
    source: str, target: str, weights: tuple[float, float], rare: tuple[str, str]
) -> None:
    config = load_config(f"{source}_{target}")
    method, training = config.method, config.training
    assert isinstance(method, UDA4InstConfig)
    mixing = method.mixing
    assert (mixing.s2t_weight, mixing.t2s_weight) == weights
    assert method.pool.rare_classes == rare
    assert method.groups == "two"
    assert (training.stage1_steps, training.stage2_steps) == (10_000, 20_000)
    assert (training.batch_size, method.score_threshold) == (3, 0.9)
    assert (config.model.preset, method.pool.size) == ("swin_l", 10)
    assert config.data.crop == ((1024, 1024) if target == "cityscapes" else (384, 672))


def test_presets__every_one_is_a_configuration() -> None:
    assert len(preset_names()) >= 10
    for name in preset_names():
        assert load_config(name).run.name == name


@pytest.mark.e2e
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_preset__starts_on_a_published_tree(tmp_path: Path, source: str, target: str) -> None:
    roots = [
        f"data.source.root={write_tree(source, tmp_path)}",
        f"data.target.root={write_tree(target, tmp_path)}",
    ]
    config = load_config(f"{source}_{target}", [*roots, f"run.root={tmp_path}/runs", *SMALL])
    assert category_groups.train(config) == Outcome("finished", 4)
    run = RunDir(tmp_path / "runs" / config.run.name)
    record = json.loads(run.evaluation_of(2).read_text())
    assert record["images"] == 2
    assert record["results"]["student"]["coco"]["AP"] is not None


@pytest.mark.e2e
def test_train__a_plain_folder_of_images_is_adapted_to(tmp_path: Path) -> None:
    images = write_tree("kitti360", tmp_path) / "data_2d_raw"
    target = [f"data.target.root={images}", "data.target.format=images"]
    source = f"data.source.root={write_tree('urbansyn', tmp_path)}"
    more = ["method.groups=one", f"run.root={tmp_path}/runs", *SMALL]
    config = load_config("urbansyn_cityscapes", [*target, source, *more])
    assert category_groups.train(config) == Outcome("finished", 2)
    run = RunDir(tmp_path / "runs" / config.run.name)
    assert list(run.evaluation.iterdir()) == []
    with pytest.raises(UserError, match=r"data\.val must be a data set with instances"):
        category_groups.evaluate(run)
