"""Steppers over data and predictions: colours, groups, errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from uda4inst.data.stream.dataset import Trees, open_trees
from uda4inst.errors import UserError
from uda4inst.formats.predictions import ImagePredictions, ScoredMask, to_line, writing_text
from uda4inst.ops.color import lab_statistics
from uda4inst.run_folder.evaluations import predictions_file
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import load_config, to_yaml
from uda4inst.training.validation import require_validation
from workbench.notebook.colours import aligned_colours, colour_alignment
from workbench.notebook.errors import error_maps
from workbench.notebook.groups import category_groups
from workbench.notebook.labels import labels
from workbench.notebook.terminal import command


@pytest.fixture(scope="module")
def data(toy_tree: Path) -> Trees:
    roots = [f"data.source.root={toy_tree}/urbansyn", f"data.target.root={toy_tree}/cityscapes"]
    config = load_config("toystreets_smoke", [*roots, f"data.val.root={toy_tree}/cityscapes"])
    return open_trees(config.data, mode="pair", labels=config.task.labels)


def statistics(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = lab_statistics(torch.from_numpy(image).permute(2, 0, 1).float() / 255)
    return found.mean.flatten().numpy(), found.std.flatten().numpy()


def test_aligned_colours__have_the_targets_statistics(data: Trees) -> None:
    assert data.source is not None
    assert data.target is not None
    source, target = data.source.read_image(0), data.target.read_image(1)
    aligned = aligned_colours(source, target)
    assert aligned.shape == source.shape
    for mine, theirs, before in zip(
        statistics(aligned), statistics(target), statistics(source), strict=True
    ):
        # clipping and rounding move them a little
        assert np.abs(mine - theirs).max() < 2.5
        assert np.abs(before - theirs).max() > 2.5


def test_colour_alignment__shows_all_pairs(data: Trees) -> None:
    stepper = colour_alignment(data, pairs=3)
    assert stepper.choices == {
        "pair": (1, 2, 3),
        "show": ("source", "aligned source", "target"),
    }
    assert stepper.walk() == 6
    assert "pair 1, source: L " in stepper.picture.value


def test_category_groups__every_object_is_taught_by_one_model(data: Trees) -> None:
    assert data.source is not None
    stepper = category_groups(data, ["one", "two"], images=2)
    models = stepper.choices["model"]
    assert len(models) == 3
    objects = len(data.source.read_instances(0).labels)
    text = stepper.sheet(model=models, image=[1]).text
    taught = [int(count) for count in re.findall(r"is taught (\d+) of", text)]
    whole, *parts = taught
    assert whole <= objects
    assert sum(parts) == whole


def test_labels__shows_every_kind_with_its_counts(data: Trees) -> None:
    assert data.source is not None
    stepper = labels(data, images=2)
    assert stepper.choices["show"] == ("instances", "boxes", "ignored", "image")
    assert stepper.walk() == 6
    name = data.source.basename(0)
    assert f"{name}, instances: " in stepper.picture.value


def run_with_errors(tmp_path: Path, toy_tree: Path, name: str, detections: list[int]) -> RunDir:
    """Write a run whose predictions of two images are the annotation's objects of some classes."""
    run = RunDir(tmp_path / name)
    run.path.mkdir()
    config = load_config(
        "toystreets_smoke",
        [
            f"data.source.root={toy_tree}/urbansyn",
            f"data.target.root={toy_tree}/cityscapes",
            f"data.val.root={toy_tree}/cityscapes",
        ],
    )
    run.config.write_text(to_yaml(config))
    dataset = require_validation(config)
    lines: list[str] = []
    for index in range(2):
        found = dataset.read_labels(index)
        masks = [
            ScoredMask(int(label), 0.8, found.ids == number)
            for number, label in enumerate(found.labels, start=1)
            if int(label) in detections
        ]
        size = (found.ids.shape[0], found.ids.shape[1])
        lines.append(to_line(ImagePredictions(dataset.basename(index), size, tuple(masks))))
    path = predictions_file(run, 3, "student")
    with writing_text(path, compressed=True) as write:
        write("".join(lines))
    run.evaluation.mkdir(exist_ok=True)
    record = {"step": 3, "results": {"student": {"cityscapes": {"AP": 0.1}}}}
    run.evaluation_of(3).write_text(json.dumps(record))
    return run


def test_error_maps__count_what_is_missed(tmp_path: Path, toy_tree: Path) -> None:
    everything = run_with_errors(tmp_path, toy_tree, "all", list(range(8)))
    cars = run_with_errors(tmp_path, toy_tree, "cars", [2])
    stepper = error_maps({"cars alone": cars, "everything": everything})
    assert stepper.choices["image"] == (1, 2)
    for text in stepper.sheet(row=["everything"], image=[1, 2]).text.split("; "):
        assert text.startswith("everything, student at step 3, ")
        assert " 0 found too much" in text
        assert text.endswith(" 0 missed")
    missed = [
        int(text.rpartition(", ")[2].removesuffix(" missed").replace(",", ""))
        for text in stepper.sheet(row=["cars alone"], image=[1, 2]).text.split("; ")
    ]
    # the worst image comes first
    assert missed[0] >= missed[1] > 0
    above = stepper.sheet(row=["everything"], score_threshold=[0.9]).text
    assert "scores above 0.9: 0 pixels right" in above


def test_error_maps__of_a_run_without_predictions(tmp_path: Path, toy_tree: Path) -> None:
    run = run_with_errors(tmp_path, toy_tree, "gone", [2])
    predictions_file(run, 3, "student").unlink()
    with pytest.raises(UserError, match="Evaluate it first"):
        error_maps({"gone": run})


def test_command__is_text_where_a_kernel_wants_colours(
    toy_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = command(f"data stats urbansyn {toy_tree}/urbansyn").markdown
    assert "person" in said
    assert "\x1b" not in said


def test_command__prints_what_the_terminal_would(toy_tree: Path) -> None:
    said = command(f"data check urbansyn {toy_tree}/urbansyn").markdown
    assert said.startswith(f"```\n$ uda4inst data check urbansyn {toy_tree}/urbansyn\n")
    assert "UrbanSyn train: 4 images, 0 errors" in said
    assert command("data check no such", unless=toy_tree).markdown.endswith("is there already.")


def test_command__fails_with_the_programs_own_message() -> None:
    with pytest.raises(UserError, match="uda4inst data check nosuch x\n"):
        command("data check nosuch x")
