"""A run with a class beside the eight: trained, resumed, judged, exported; what does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compared_runs import metrics
from mini_network import TINY_MINI
from own_classes import OWN, THINGS, open_own, own_overrides, write_own_data
from safetensors.torch import load_file

from uda4inst.data.config import DatasetRef
from uda4inst.errors import UserError
from uda4inst.exchange.hub_folder import export_run, open_exported
from uda4inst.formats.predictions import read_predictions
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.evaluations import predictions_file
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.training import launch
from uda4inst.training.config import Config, config_hash, load_config
from uda4inst.training.groups import category_groups

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("tiny_is_mini")]

PRESET = "toystreets_smoke"


@pytest.fixture(scope="module")
def data(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own_data(toy, tmp_path_factory.mktemp("own") / "data")


@pytest.fixture(scope="module")
def configure(
    data: Path, short_run: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Config]:
    root = tmp_path_factory.mktemp("runs")

    def make(name: str, *more: str) -> Config:
        return load_config(PRESET, short_run(root, name, *own_overrides(data), *more))

    return make


@pytest.fixture(scope="module")
def trained(configure: Callable[..., Config]) -> RunDir:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
        return train(configure("own"))


def student(run: RunDir) -> dict[str, Any]:
    """Return the student's last scores by protocol."""
    return json.loads(run.evaluation_of(20).read_text())["results"]["student"]


def train(config: Config) -> RunDir:
    assert launch.train(config).state == "finished"
    return RunDir(Path(config.run.root) / config.run.name)


def test_train__the_class_is_learned_pseudo_labelled_stored_and_judged(trained: RunDir) -> None:
    lines = metrics(trained)
    assert OWN in lines[-1]["pseudo_labels"]
    snapshots = [read_snapshot(trained, step) for step in (0, 16)]
    assert [snapshot.things for snapshot in snapshots] == [THINGS, THINGS]
    assert any(8 in item.source.labels for s in snapshots for item in s.items if item.source)
    assert {entry.label for entry in snapshots[1].pool} == {8}
    assert snapshots[1].rare_classes == (OWN,)
    assert OWN in snapshots[1].class_thresholds
    judged = student(trained)
    assert all(list(judged[p]["per_class"])[-1] == OWN for p in ("cityscapes", "coco"))
    assert judged["cityscapes"]["per_class"][OWN] is not None
    assert judged["cityscapes"]["per_class"]["car"] is None
    found = read_predictions(predictions_file(trained, 20, "student"))
    assert max(d.label for image in found for d in image.detections) == 8


def test_resume__from_the_middle_to_the_same_bits(trained: RunDir, tmp_path: Path) -> None:
    again = RunDir(Path(shutil.copytree(trained.path, tmp_path / "own")))
    assert launch.resume(again, step=10, may_replace=True).state == "finished"
    ours, theirs = (
        load_file(run.checkpoints / "00000020" / "student.safetensors") for run in (again, trained)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_groups__each_module_learns_its_own(configure: Callable[..., Config]) -> None:
    groups = f"[[person, rider, motorcycle, bicycle], [car, truck, bus, train, {OWN}]]"
    config = configure("groups", f"method.groups={groups}")
    assert category_groups.train(config).state == "finished"
    run = RunDir(Path(config.run.root) / config.run.name)
    modules = sorted(path.name for path in run.modules.iterdir())
    assert modules == ["car-truck-bus-train-tow_truck", "person-rider-motorcycle-bicycle"]
    judged = student(run)["cityscapes"]
    assert judged["per_class"][OWN] is not None
    found = read_predictions(predictions_file(run, 20, "student"))
    labels = {d.label for image in found for d in image.detections}
    assert labels & {0, 1, 6, 7}
    assert labels & {2, 3, 4, 5, 8}


def test_export__says_the_class_and_is_judged_alike(
    trained: RunDir, data: Path, tmp_path: Path
) -> None:
    export_run(trained, tmp_path / "hub", network="student", step=None, license_name="other")
    exported = open_exported(tmp_path / "hub")
    assert exported.things == THINGS
    values = {"format": "coco", "root": str(data / "val"), "split": "val"}
    ref = DatasetRef.model_validate({**values, "class_map": str(data / "map.yaml")})
    found = exported.evaluate(ref)["results"]["student"]
    expected = student(trained)
    for protocol in ("cityscapes", "coco"):
        assert found[protocol]["per_class"] == expected[protocol]["per_class"]


def test_hash__tells_own_classes_apart_and_is_unchanged_without(
    configure: Callable[..., Config], short_run: Callable[..., list[str]], tmp_path: Path
) -> None:
    without = load_config(PRESET, short_run(tmp_path, "a"))
    assert config_hash(without) == config_hash(
        load_config(PRESET, [*short_run(tmp_path, "b"), "method.own_classes=[]"])
    )
    assert config_hash(configure("c")) != config_hash(without)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("method.own_classes=[crane]", r"in the same order \(crane\), got tow truck"),
        ("data.source.class_map=null", r"in the same order \(tow truck\), got none"),
        ("data.val.class_map=null", r"data\.val\.class_map must name the classes"),
    ],
)
def test_train__a_class_map_that_says_otherwise_is_refused(
    configure: Callable[..., Config], more: str, words: str
) -> None:
    rare = "method.pool.rare_classes=[person]"
    with pytest.raises(UserError, match=words):
        launch.train(configure("refused", more, rare))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("method.groups=two", "each of the 9 classes in exactly one group, got tow truck in none"),
        ("method.own_classes=[car]", "names of their own, got 'car' again"),
        ("method.classes=[tow truk]", "Did you mean tow truck"),
        ("evaluation.protocols=[thing_pixels]", "which knows the eight alone"),
    ],
)
def test_config__what_does_not_fit_is_one_message(
    configure: Callable[..., Config], more: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        configure("bad", more)


def test_config__semantic_maps_have_cityscapes_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which have Cityscapes' 19 classes, got cone"):
        load_config("toystreets_semantic_smoke", ["method.own_classes=[cone]", "method.groups=one"])


def test_own_data__is_what_the_run_saw(data: Path) -> None:
    assert open_own(data, "source").thing_classes == THINGS
