"""The semantic task by its contract: one term a view, its own words, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.errors import UserError
from uda4inst.models.semantic.loss import pixel_cross_entropy
from uda4inst.models.semantic.prediction import Auxiliary, SemanticPrediction
from uda4inst.run_folder.evaluations import predicting_networks
from uda4inst.run_folder.layout import RunDir
from uda4inst.structures import InstanceMap, Sample, SemanticMap
from uda4inst.tasks import TASKS, task_of
from uda4inst.tasks.base import StudentView
from uda4inst.tasks.semantic import SEMANTIC

SIZE = (8, 12)


def semantic_map(seed: int) -> SemanticMap:
    generator = torch.Generator().manual_seed(seed)
    return SemanticMap(torch.randint(0, 19, SIZE, generator=generator).to(torch.uint8))


def view(name: str, *seeds: int) -> StudentView:
    maps = [semantic_map(seed) for seed in seeds]
    return StudentView(name, 1.0, [torch.zeros(3, *SIZE) for _ in maps], maps)


def prediction(images: int) -> SemanticPrediction:
    return SemanticPrediction(torch.randn(images, 19, 8, 8).requires_grad_(), SIZE)


def test_task_of__finds_the_task_by_the_networks_preset() -> None:
    assert task_of("mit_b2") is SEMANTIC
    assert task_of("swin_l") is TASKS["instances"]
    presets = [preset for task in TASKS.values() for preset in task.presets]
    assert len(presets) == len(set(presets))


def test_predictions_name__is_found_again_where_it_can_be_shown(tmp_path: Path) -> None:
    shown = [task for task in TASKS.values() if task.predictions_kind is not None]
    for task in shown:
        run = RunDir(tmp_path / task.name)
        run.predictions_of(3).mkdir(parents=True)
        (run.predictions_of(3) / task.predictions_name("teacher")).touch()
        assert predicting_networks(run, 3) == ["teacher"]
    assert len(shown) >= 2


def test_semantic__names_what_it_predicts() -> None:
    assert SEMANTIC.class_names == tuple(c.name for c in SEMANTIC_CLASSES)
    assert (SEMANTIC.labels, SEMANTIC.has_groups) == ("semantic", False)
    assert SEMANTIC.predictions_name("student") == "student.zip"


def test_build_loss__one_term_a_view_each_normalised_on_its_own() -> None:
    loss = SEMANTIC.build_loss(num_points=1)
    views = [view("source", 1, 2), view("s2t", 3)]
    predictions = [prediction(2), prediction(1)]
    parts = loss.parts(predictions, views)
    assert [[(p.name, p.weight) for p in of_view] for of_view in parts] == [[("pixels", 1.0)]] * 2
    for of_view, made, shown in zip(parts, predictions, views, strict=True):
        maps = [target for target in shown.targets if isinstance(target, SemanticMap)]
        assert torch.equal(of_view[0].value, pixel_cross_entropy(made, maps))


@pytest.mark.parametrize(
    ("weights", "names"),
    [((0.1,), ("aux",)), ((1.0, 1.0), ("aux1", "aux2"))],
    ids=["one head", "two heads"],
)
def test_build_loss__a_term_more_for_every_auxiliary_head(
    weights: tuple[float, ...], names: tuple[str, ...]
) -> None:
    heads = tuple(Auxiliary(prediction(1), weight) for weight in weights)
    found = replace(prediction(1), aux=heads)
    shown = view("source", 4)
    (parts,) = SEMANTIC.build_loss(num_points=1).parts([found], [shown])
    assert [(p.name, p.weight) for p in parts] == [
        ("pixels", 1.0),
        *zip(names, weights, strict=True),
    ]
    for part, head in zip(parts[1:], heads, strict=True):
        assert torch.equal(part.value, pixel_cross_entropy(head.prediction, [semantic_map(4)]))


def test_target_of__is_the_semantic_map_or_an_error() -> None:
    image = torch.zeros(3, *SIZE)
    labels = semantic_map(0)
    assert SEMANTIC.target_of(Sample(image, "a", "source", semantic=labels)) is labels
    with pytest.raises(ValueError, match="semantic map of sample 'a' must be read"):
        SEMANTIC.target_of(Sample(image, "a", "source", instances=InstanceMap.empty(SIZE)))


class NoImages:
    """A data set without images."""

    def __len__(self) -> int:
        return 0

    def basename(self, index: int) -> str:
        raise IndexError(index)

    def read_image(self, index: int) -> np.ndarray:
        raise IndexError(index)

    def read_instance_ids(self, index: int) -> np.ndarray:
        raise IndexError(index)

    def read_semantic(self, index: int) -> np.ndarray:
        raise IndexError(index)


def test_evaluate__refuses_protocols_and_classes_that_are_not_its_own(tmp_path: Path) -> None:
    network, _ = SEMANTIC.build_network("mit_tiny", weights=None)
    with pytest.raises(UserError, match="protocols must be 'pixels', got cityscapes"):
        SEMANTIC.evaluate(network, NoImages(), device="cpu", protocols=["cityscapes"])
    with pytest.raises(ValueError, match="classes must be all"):
        SEMANTIC.evaluate(network, NoImages(), device="cpu", protocols=["pixels"], classes=["road"])
    scores = SEMANTIC.evaluate(network, NoImages(), device="cpu", protocols=["pixels"])
    assert (scores["pixels"]["mIoU"], scores["pixels"]["accuracy"]) == (None, None)
