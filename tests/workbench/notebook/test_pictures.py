"""Steppers over data and predictions: colours, groups, errors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from uda4inst.data.stream.dataset import Trees, open_trees
from uda4inst.ops.color import lab_statistics
from uda4inst.training.config import load_config
from workbench.notebook.colours import aligned_colours, colour_alignment
from workbench.notebook.groups import category_groups


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
