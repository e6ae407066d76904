"""Whole runs of semantic segmentation: repeated, killed, stopped and resumed, always to the bit."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from compared_runs import metrics, plain
from PIL import Image
from safetensors.torch import load_file

from tests.support.published_trees import LABEL_IDS, scene
from uda4inst import cli
from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.commands.evaluate import evaluate
from uda4inst.commands.predict import predict
from uda4inst.errors import UserError
from uda4inst.evaluation.semantic import SemanticScores
from uda4inst.formats.label_maps import LabelMaps
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.training import launch
from uda4inst.training.config import load_config
from uda4inst.training.validation import evaluate_checkpoint

pytestmark = pytest.mark.e2e

Overrides = Callable[..., list[str]]
PRESET = "toystreets_semantic_smoke"
DRIVER = Path(__file__).parents[1] / "support" / "interrupted_trainer.py"


def settings(short_run: Overrides, root: Path, name: str, *more: str) -> list[str]:
    """Return the overrides of a run of 8 + 12 steps on labelled source images."""
    return short_run(root, name, "method.name=source_only", *more)


def train(overrides: list[str]) -> RunDir:
    config = load_config(PRESET, overrides)
    assert launch.train(config).state == "finished"
    return RunDir(Path(config.run.root) / config.run.name)


@pytest.fixture(scope="module")
def unbroken(short_run: Overrides, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return train(settings(short_run, tmp_path_factory.mktemp("runs"), "unbroken"))


@pytest.fixture(scope="module")
def oracle(short_run: Overrides, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    root = tmp_path_factory.mktemp("runs")
    return train(short_run(root, "oracle", "method.name=oracle"))


def results(run: RunDir) -> dict[str, Any]:
    return json.loads(run.evaluation_of(20).read_text())["results"]


def assert_same_end(run: RunDir, reference: RunDir) -> None:
    assert metrics(run) == metrics(reference)
    last = "00000020"
    one, other = (load_file(r.checkpoints / last / "student.safetensors") for r in (run, reference))
    assert one.keys() == other.keys()
    assert [k for k in one if not torch.equal(one[k], other[k])] == []
    for name in ("optimizer.pt", "state.pt"):
        states = (
            torch.load(r.checkpoints / last / name, weights_only=True) for r in (run, reference)
        )
        assert plain(next(states)) == plain(next(states))
    assert results(run) == results(reference)
    stored = [r.evaluation / "predictions" / last / "student.zip" for r in (run, reference)]
    assert stored[0].read_bytes() == stored[1].read_bytes()


def test_semantic_run__leaves_a_whole_folder(unbroken: RunDir, toy: Path) -> None:
    lines = metrics(unbroken)
    assert [line["step"] for line in lines] == list(range(20))
    assert {tuple(line["losses"]) for line in lines} == {("source/pixels",)}
    assert lines[-1]["loss"] < lines[0]["loss"]
    found = results(unbroken)
    assert set(found) == {"student"}
    assert set(found["student"]) == {"pixels"}
    scores = found["student"]["pixels"]
    means = ["mIoU", "accuracy", "mIoU16", "mIoU13", "mIoU_things", "accuracy_things"]
    assert list(scores) == [*means, "per_class", "confusion", "no_class"]
    assert all(0 <= scores[name] <= 1 for name in means)
    read = SemanticScores.from_json(scores, where=unbroken.path)
    assert read is not None
    assert read.to_json() == scores
    assert list(scores["per_class"]) == [c.name for c in SEMANTIC_CLASSES]
    # The stored maps are what was judged, beside ground truth read here by hand.
    maps = LabelMaps(unbroken.evaluation / "predictions" / "00000020" / "student.zip")
    again = SemanticScores()
    table = np.full(256, 255, np.uint8)
    table[LABEL_IDS] = np.arange(19)
    for path in sorted((toy / "cityscapes/gtFine/val").rglob("*_labelIds.png")):
        name = path.name.removesuffix("_gtFine_labelIds.png")
        again.add(table[np.asarray(Image.open(path))], maps.read(name))
    assert again.to_json() == scores


def test_semantic_run__snapshots_show_what_was_learned(unbroken: RunDir, oracle: RunDir) -> None:
    source = read_snapshot(unbroken, 16).items[0]
    assert source.source_semantic is not None
    assert source.source_semantic.train_ids.shape == (64, 128)
    assert source.target_semantic is None
    assert source.target is not None
    target = read_snapshot(oracle, 16).items[0]
    assert target.target_semantic is not None
    assert 0 in target.target_semantic.train_ids
    assert target.source_semantic is None


def test_semantic_run__same_seed_same_numbers(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path
) -> None:
    assert_same_end(train(settings(short_run, tmp_path, "again")), unbroken)


def kill(point: str, overrides: list[str], root: Path) -> RunDir:
    """Start a run called "killed", and kill it at a point."""
    marker = root / "marker"
    arguments = [point, str(marker), "train", PRESET, *overrides]
    with subprocess.Popen(
        [sys.executable, str(DRIVER), *arguments],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as child:
        try:
            deadline = time.monotonic() + 200
            while not marker.exists():
                assert child.poll() is None, "the trainer ended early"
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            child.send_signal(signal.SIGKILL)
    run = RunDir(root / "killed")
    assert json.loads(run.status.read_text())["state"] == "running"
    return run


@pytest.mark.parametrize("point", ["in-stage-2", "while-evaluating"])
def test_semantic_run__killed_and_resumed(
    unbroken: RunDir, short_run: Overrides, tmp_path: Path, point: str
) -> None:
    run = kill(point, settings(short_run, tmp_path, "killed"), tmp_path)
    assert launch.resume(run).state == "finished"
    assert_same_end(run, unbroken)


@pytest.mark.parametrize(
    ("preset", "terms"),
    [
        ("daformer_tiny", ("pixels",)),
        ("deeplab_tiny", ("pixels", "aux")),
        ("bisenet_tiny", ("pixels", "aux1", "aux2")),
    ],
)
def test_semantic_run__of_every_family_learns_and_resumes(
    short_run: Overrides, tmp_path: Path, preset: str, terms: tuple[str, ...]
) -> None:
    chosen = f"model.preset={preset}"
    whole = train(settings(short_run, tmp_path, "whole", chosen))
    lines = metrics(whole)
    assert {tuple(line["losses"]) for line in lines} == {tuple(f"source/{t}" for t in terms)}
    assert lines[-1]["losses"]["source/pixels"] < lines[0]["losses"]["source/pixels"]
    run = kill("in-stage-2", settings(short_run, tmp_path, "killed", chosen), tmp_path)
    assert launch.resume(run).state == "finished"
    assert_same_end(run, whole)


def test_bench__takes_a_runs_network(
    unbroken: RunDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = ["--size", "64x96", "--repeats", "1", "--warm-up", "0", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["uda4inst", "bench", str(unbroken.path), *quick])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "mit_tiny, student of step 20 of unbroken\n" in capsys.readouterr().out


def test_semantic_run__evaluated_again_gives_the_same_digits(unbroken: RunDir) -> None:
    before = results(unbroken)
    assert evaluate_checkpoint(unbroken)["results"] == before


def test_semantic_run__target_labels_change_nothing_but_the_judgement(
    unbroken: RunDir, short_run: Overrides, toy: Path, tmp_path: Path
) -> None:
    poisoned = tmp_path / "toy"
    shutil.copytree(toy, poisoned)
    for path in (poisoned / "cityscapes/gtFine/train").rglob("*.png"):
        path.write_bytes(b"poison")
    run = train(short_run(tmp_path, "poisoned", "method.name=source_only", data=poisoned))
    assert_same_end(run, unbroken)


def test_semantic_run__trains_on_gta5(short_run: Overrides, tmp_path: Path) -> None:
    root = tmp_path / "gta5"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for index in range(4):
        picture, labels, _, _ = scene("render", index)
        assert cv2.imwrite(str(root / f"images/{index + 1:05d}.png"), picture)
        indexed = Image.frombytes("P", (128, 64), labels.astype(np.uint8).tobytes())
        indexed.putpalette([0, 1, 2] * 40)
        indexed.save(root / f"labels/{index + 1:05d}.png")
    gta5 = ["data.source.format=gta5", f"data.source.root={root}"]
    run = train(settings(short_run, tmp_path, "gta5_run", *gta5))
    assert metrics(run)[-1]["loss"] < metrics(run)[0]["loss"]
    with pytest.raises(UserError, match="must have instances here, got GTA5"):
        launch.train(load_config("toystreets_smoke", short_run(tmp_path, "instances", *gta5)))


def test_predict__draws_classes_and_writes_what_the_server_takes(
    unbroken: RunDir, toy: Path, tmp_path: Path
) -> None:
    images = sorted((toy / "cityscapes/leftImg8bit/val").rglob("*.png"))
    predict(
        str(unbroken.path),
        images,
        out=tmp_path / "out",
        network="best",
        step=None,
        score_threshold=0.5,
        root=tmp_path,
    )
    stored = unbroken.evaluation / "predictions" / "00000020" / "student.zip"
    with zipfile.ZipFile(stored) as file:
        for path in images:
            drawn = np.asarray(Image.open(tmp_path / "out" / path.name))
            assert drawn.ndim == 3
            server = np.asarray(Image.open(tmp_path / "out" / f"{path.stem}_labelIds.png"))
            name = path.name.removesuffix("_leftImg8bit.png")
            judged = np.asarray(Image.open(io.BytesIO(file.read(f"{name}.png"))))
            assert (server == LABEL_IDS[judged]).all()


def test_evaluate__prints_the_tasks_measures(
    unbroken: RunDir, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    evaluate(
        str(unbroken.path),
        step=None,
        root=tmp_path,
        predictions=None,
        target=None,
        as_json=False,
    )
    printed = capsys.readouterr().out
    assert "pixels mIoU" in printed
    assert "accuracy" in printed
    scores = results(unbroken)["student"]["pixels"]
    (row,) = [line for line in printed.splitlines() if " road " in line]
    assert f"{100 * scores['per_class']['road']['IoU']:.1f}" in row
