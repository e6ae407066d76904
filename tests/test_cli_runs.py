"""Whole runs from the command line with the tiny network, each in a process of its own."""

from __future__ import annotations

import functools
import gzip
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import process
from PIL import Image

from uda4inst.commands.evaluate import evaluate
from uda4inst.errors import UserError
from uda4inst.methods import METHODS
from uda4inst.toystreets.write import write_toystreets

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the data that the presets name, but few and small images."""
    folder = tmp_path_factory.mktemp("workplace")
    write_toystreets(folder / "data" / "toystreets", size=(64, 128), train=8, val=2, workers=0)
    return folder


def overrides(name: str, *more: str) -> list[str]:
    return [
        f"run.name={name}",
        "data.crop=[64, 128]",
        "data.short_sides=[64, 72]",
        "model.num_points=512",
        "training.stage1_steps=8",
        "training.stage2_steps=12",
        *more,
    ]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def parts_of_views(lines: list[dict[str, Any]]) -> list[list[str]]:
    """Return the parts of the loss of every view in every line of metrics."""
    found: list[list[str]] = []
    for line in lines:
        names = [name.split("/") for name in line["losses"]]
        views = dict.fromkeys(view for view, _ in names)
        found += [[part for other, part in names if other == view] for view in views]
    return found


@functools.cache
def trained(workplace: Path, method: str) -> subprocess.CompletedProcess[str]:
    """Train a method from the command line, once: how that ended."""
    settings = overrides(method, f"method.name={method}")
    return process("train", "toystreets_smoke", *settings, cwd=workplace)


@pytest.mark.parametrize("method", [n for n, spec in METHODS.items() if "instances" in spec.tasks])
def test_train__every_method_from_the_command_line(workplace: Path, method: str) -> None:
    done = trained(workplace, method)
    assert done.returncode == 0, done.stderr
    run = workplace / "runs" / method
    status = read_json(run / "status.json")
    assert (status["state"], status["step"], status["error"]) == ("finished", 20, None)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(20))
    assert [line["stage"] for line in lines] == [1] * 8 + [2] * 12
    of_stage1, of_stage2 = ({tuple(i["losses"]) for i in part} for part in (lines[:8], lines[8:]))
    assert len(of_stage1) == len(of_stage2) == 1  # the same terms at every step
    assert METHODS[method].stage1 or of_stage1 == of_stage2
    assert {tuple(parts) for parts in parts_of_views(lines)} == {("class", "mask", "dice")}
    assert all(math.isfinite(value) for line in lines for value in line["losses"].values())
    results = read_json(run / "evaluation" / "00000020.json")["results"]
    assert list(results) == list(METHODS[method].networks)
    assert set(results["student"]) == {"cityscapes", "coco"}
    assert list((run / "tensorboard").iterdir())
    assert "finished at step 20" in (run / "log.txt").read_text()


def test_evaluate_and_predict__a_trained_run(workplace: Path) -> None:
    done = trained(workplace, "uda4inst")
    assert done.returncode == 0, done.stderr
    evaluation = read_json(workplace / "runs/uda4inst/evaluation/00000020.json")
    results = evaluation["results"]
    again = process("evaluate", "uda4inst", "--json", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["results"] == results

    images = sorted((workplace / "data/toystreets/cityscapes/leftImg8bit/val").rglob("*.png"))
    (workplace / "list.txt").write_text("\n".join(path.stem for path in images))
    again = process("evaluate", "uda4inst", "--json", "--images", "list.txt", cwd=workplace)
    assert again.returncode == 0, again.stderr
    for network, result in json.loads(again.stdout)["results"].items():
        assert result["cityscapes"] == results[network]["cityscapes"]
    again = process("evaluate", "uda4inst", "--json", "--protocol", "coco", cwd=workplace)
    for network, result in json.loads(again.stdout)["results"].items():
        assert result["coco"] == results[network]["coco"]
        assert "cityscapes" not in result
    (workplace / "list.txt").write_text(images[0].stem)
    some = process("evaluate", "uda4inst", "--json", "--images", "list.txt", cwd=workplace)
    assert json.loads(some.stdout)["images"] == 1
    assert json.loads(some.stdout)["results"]["student"]["cityscapes"] != results["student"]

    done = process("predict", "uda4inst", *map(str, images), "--out", "out", cwd=workplace)
    assert done.returncode == 0, done.stderr
    out = workplace / "out"
    for path in images:
        assert np.asarray(Image.open(out / path.name)).ndim == 3
    with gzip.open(out / "predictions.jsonl.gz", "rt") as lines_of_images:
        predicted = [json.loads(line) for line in lines_of_images]
    assert [p["sample_id"] for p in predicted] == [path.stem for path in images]
    assert all(p["detections"] for p in predicted)


def test_evaluate__a_run_from_another_machine(
    workplace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert trained(workplace, "uda4inst").returncode == 0
    run = tmp_path / "runs/uda4inst"
    shutil.copytree(workplace / "runs/uda4inst", run)
    images = workplace / "data/toystreets/cityscapes"
    monkeypatch.chdir(tmp_path)
    judge = functools.partial(evaluate, "uda4inst", as_json=True)
    with pytest.raises(UserError, match="uda4inst evaluate runs/uda4inst --target FOLDER"):
        judge()
    with pytest.raises(UserError, match="got --split"):
        judge(target=images, split="val")
    before = (run / "config.yaml").read_text()
    with pytest.raises(UserError, match="root must hold the folder"):
        judge(target=tmp_path)
    assert (run / "config.yaml").read_text() == before

    written = read_json(run / "evaluation/00000020.json")
    judge(target=images, protocol=["coco"])
    for network, result in json.loads(capsys.readouterr().out)["results"].items():
        assert result["coco"] == written["results"][network]["coco"]
    judge()
    again = json.loads(capsys.readouterr().out)
    assert again["results"] == written["results"]
    assert again["config_hash"] == written["config_hash"]


def test_choose__trained_runs(workplace: Path) -> None:
    for method in ("uda4inst", "source_only"):
        done = trained(workplace, method)
        assert done.returncode == 0, done.stderr
    options = ("--images", "4", "--thresholds", ".2,.02")
    done = process("choose", "uda4inst", "source_only", *options, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "4 unlabelled images" in done.stdout
    adapted, source = (
        read_json(workplace / "runs" / name / "choice.json") for name in ("uda4inst", "source_only")
    )
    assert (adapted["images"], adapted["split"]) == (4, "train")
    assert adapted["thresholds"] == [0.02, 0.2]
    last = adapted["checkpoints"][-1]
    evaluation = read_json(workplace / "runs/uda4inst/evaluation/00000020.json")
    results = evaluation["results"]
    assert last["step"] == 20
    assert last["network"] == "teacher"
    true = {name: result["cityscapes"]["AP"] for name, result in results.items()}
    basis = ("dataset", "split", "images", "images_there", "image_names")
    assert last["diagnostic"] == {
        "protocol": "cityscapes",
        "AP": true,
        **{name: evaluation[name] for name in basis},
    }
    assert (evaluation["images"], evaluation["images_there"]) == (2, 2)
    assert last["thresholds"][0]["pseudo_labels"] > 0
    assert 0 < last["thresholds"][0]["agreement"]["quality"] <= 1
    assert adapted["by"] == "agreement"
    assert adapted["chosen"]["step"] in {one["step"] for one in adapted["checkpoints"]}
    assert source["by"] == "stability"
    assert {one["network"] for one in source["checkpoints"]} == {"student"}
    lines = [line for one in source["checkpoints"] for line in one["thresholds"]]
    assert [line["agreement"] for line in lines] == [None] * len(lines)
