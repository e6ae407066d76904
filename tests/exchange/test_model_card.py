"""The card says what the run says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from uda4inst.exchange.hub_folder import export_run
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import config_hash, load_config

MakeRun = Callable[..., RunDir]


def card(run: RunDir, out: Path) -> str:
    (folder,) = export_run(run, out, license_name="cc-by-4.0")
    return (folder / "README.md").read_text()


@pytest.fixture
def text(evaluated_run: RunDir, tmp_path: Path) -> str:
    return card(evaluated_run, tmp_path / "out")


def test_model_card__front_matter_is_the_hubs(text: str) -> None:
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert (front["library_name"], front["pipeline_tag"]) == ("transformers", "image-segmentation")


def test_model_card__scores_are_the_evaluations(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    classes = {"car": {"AP": 0.123, "AP50": 0.456}, "bus": None}
    coco = {"AP": 0.2, "AP50": 0.34, "per_class": classes}
    results = {
        "student": {"coco": {"AP": 1, "AP50": 1, "per_class": {}}},
        "teacher": {"coco": coco},
    }
    run.evaluation_of(20).write_text(json.dumps({"step": 20, "images": 2, "results": results}))
    text = card(run, tmp_path / "out")
    assert "on 2 of 2 images: ToyStreets in the format cityscapes, split val" in text
    table = text.split("### coco\n\n")[1].split("\n\n")[0]
    assert table.splitlines()[2:] == [
        "| all | 20.0 | 34.0 |",
        "| car | 12.3 | 45.6 |",
        "| bus | - | - |",
    ]


def test_model_card__says_where_it_comes_from(text: str, evaluated_run: RunDir) -> None:
    assert config_hash(load_config(evaluated_run.config)) in text
    assert "20 of 20: 8 of stage 1 and 12 of stage 2" in text
    assert "departures that change results" in text
    assert "| `method.score_threshold` | `0.07` | `0.9` |" in text


def test_model_card__has_no_paths(text: str, tmp_path: Path, toy: Path) -> None:
    assert str(tmp_path) not in text
    assert str(toy) not in text


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (None, "from scratch"),
        ("facebook/mask2former-swin-large-coco-instance", "`facebook/mask2former-swin-large-"),
        ("weights/mine/last", "a file or folder"),
        ("weights.safetensors", "a file or folder"),
        ("~/weights", "a file or folder"),
        ("here", "a file or folder"),
    ],
)
def test_model_card__says_where_the_first_weights_came_from(
    weights: str | None,
    words: str,
    make_run: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run()
    saved = yaml.safe_load(run.config.read_text())
    saved["model"]["weights"] = weights
    run.config.write_text(yaml.safe_dump(saved))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    text = card(run, tmp_path / "out")
    assert f"| start | {words}" in text
    assert "weights/mine" not in text


def test_model_card__of_a_run_that_was_moved_has_no_paths(
    make_run: MakeRun, tmp_path: Path, toy: Path
) -> None:
    run = make_run()
    saved = yaml.safe_load(run.config.read_text())
    for side in ("source", "target", "val"):
        saved["data"][side]["moved_from"] = f"/home/someone/{side}"
    saved["data"]["target"]["ego_vehicle"] = "/home/someone/bonnet.png"
    run.config.write_text(yaml.safe_dump(saved))
    text = card(run, tmp_path / "out")
    assert "/home/someone" not in text
    assert str(toy) not in text


def test_model_card__not_all_images_and_not_evaluated(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    assert "Not evaluated at step 20" in card(run, tmp_path / "a")
    run.evaluation_of(20).write_text(
        json.dumps({"step": 20, "images": 1, "results": {"student": {}, "teacher": {"coco": {}}}})
    )
    text = card(run, tmp_path / "b")
    assert "on 1 of 2 images" in text
    assert "a quick look, not a result" in text


def test_model_card__an_upper_bound_has_learned_from_target_labels(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run("method.name=oracle")
    assert "its labels are what it learned from" in card(run, tmp_path / "out")
