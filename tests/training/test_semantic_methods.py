"""Whole runs of every method of semantic segmentation: resumed, they end at the same bits."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from compared_runs import metrics, plain
from safetensors.torch import load_file

from uda4inst.methods import METHODS
from uda4inst.run_folder.layout import RunDir, numbered
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.training import launch
from uda4inst.training.config import load_config

pytestmark = pytest.mark.e2e

Overrides = Callable[..., list[str]]
PRESET = "toystreets_semantic_smoke"
# Each method on the kind of network it was published with; two that are not semantic alone are
# tried in test_semantic_runs.py.
NETWORKS = {
    "dacs": "deeplab_tiny",
    "daformer": "daformer_tiny",
    "ehtdi": "deeplab_tiny",
    "adversarial": "bisenet_tiny",
    "meta_pseudo_labels": "bisenet_tiny",
}
OWN = [name for name, spec in METHODS.items() if spec.tasks == {"semantic"}]
MORE = {
    "ehtdi": ["method.edges=true"],
    "adversarial": ["method.pseudo_labels_from=0.5"],
    "meta_pseudo_labels": ["method.feedback=improvement"],
}
LAST = "00000020"


def assert_same_end(run: RunDir, reference: RunDir) -> None:
    folders = [r.checkpoints / LAST for r in (run, reference)]
    names = [{path.name for path in folder.iterdir()} for folder in folders]
    assert names[0] == names[1]
    for name in sorted(names[0] - {"manifest.json"}):
        if name.endswith(".safetensors"):
            one, other = (load_file(folder / name) for folder in folders)
        else:
            one, other = (torch.load(folder / name, weights_only=True) for folder in folders)
        assert plain(one) == plain(other), name
    assert metrics(run) == metrics(reference)
    assert run.evaluation_of(20).read_text() == reference.evaluation_of(20).read_text()


def test_networks__are_named_for_every_method() -> None:
    assert set(NETWORKS) == set(OWN)


@pytest.fixture(scope="module", params=OWN)
def whole(
    short_run: Overrides, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> RunDir:
    method = request.param
    network = f"model.preset={NETWORKS[method]}"
    root = tmp_path_factory.mktemp("runs")
    more = MORE.get(method, [])
    overrides = short_run(root, method, f"method.name={method}", network, *more)
    assert launch.train(load_config(PRESET, overrides)).state == "finished"
    return RunDir(root / method)


def test_semantic_method__shows_what_it_did(whole: RunDir) -> None:
    lines = metrics(whole)
    assert [line["step"] for line in lines] == list(range(20))
    assert all(math.isfinite(value) for line in lines for value in line["losses"].values())
    results = json.loads(whole.evaluation_of(20).read_text())["results"]
    assert list(results) == ["student", "teacher"]
    item = read_snapshot(whole, numbered(whole.snapshots)[-1]).items[0]
    assert item.source_semantic is not None
    assert item.pixel_labels is not None
    assert item.pixel_labels.best.shape == (64, 128)
    assert (item.s2t_semantic is not None) == ("s2t/pixels" in lines[-1]["losses"])
    assert (item.domains is not None) == ("discriminator" in lines[-1]["losses"])


@pytest.mark.parametrize("step", [8, 10], ids=["the-stage-begins", "within-the-stage"])
def test_semantic_method__resumed_ends_at_the_same_bits(
    whole: RunDir, tmp_path: Path, step: int
) -> None:
    again = RunDir(tmp_path / "again")
    shutil.copytree(whole.path, again.path)
    assert launch.resume(again, step=step, may_replace=True).state == "finished"
    assert_same_end(again, whole)


def test_meta__a_stage_1_run_on_its_own_is_as_good(short_run: Overrides, tmp_path: Path) -> None:
    network = f"model.preset={NETWORKS['meta_pseudo_labels']}"
    # Which steps are noisy is drawn by the step of the run, which differs.
    common = [network, "evaluation.limit=1", "method.noise_chance=0"]
    whole = short_run(tmp_path, "whole", "method.name=meta_pseudo_labels", *common)
    launch.train(load_config(PRESET, whole))
    stage1 = ["method.name=adversarial", "method.pseudo_labels_from=0.5", "training.stage2_steps=0"]
    launch.train(load_config(PRESET, short_run(tmp_path, "stage1", *common, *stage1)))
    from_it = f"training.stage2_from={tmp_path / 'stage1'}"
    parted = short_run(tmp_path, "parted", "method.name=meta_pseudo_labels", *common, from_it)
    launch.train(load_config(PRESET, parted))
    last = {"whole": LAST, "parted": "00000012"}
    for name in ("student.safetensors", "teacher.safetensors"):
        one, other = (load_file(tmp_path / k / "checkpoints" / v / name) for k, v in last.items())
        assert plain(one) == plain(other), name
