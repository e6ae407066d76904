"""Our data sets and predictions in detectron2's hands, where it is there."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers import Cityscapes, UrbanSyn
from uda4inst.errors import UserError
from uda4inst.evaluation.evaluate import evaluate_model
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.predictions import ImagePredictions, ScoredMask, read_predictions
from uda4inst.models.mask2former.network import build_model

there = importlib.util.find_spec("detectron2") is not None
pytestmark = [
    pytest.mark.skipif(not there, reason="needs detectron2 (docs/exchange.md)"),
    pytest.mark.filterwarnings("ignore"),  # theirs
]


@pytest.fixture
def exchange() -> Any:
    return importlib.import_module("uda4inst.exchange.detectron2")


@pytest.fixture
def data(exchange: Any) -> Iterator[Any]:
    """Their catalogs, which forget afterwards what was registered."""
    found: Any = importlib.import_module("detectron2.data")
    before = set(found.DatasetCatalog.list())
    yield found
    for name in set(found.DatasetCatalog.list()) - before:
        found.DatasetCatalog.remove(name)
        found.MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def predicted(toystreets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the package's start finds in the images of val."""
    path = tmp_path_factory.mktemp("predicted") / "student.jsonl.gz"
    network = build_model("tiny", weights="toystreets")[0].eval()
    dataset = Cityscapes(toystreets / "cityscapes", "val")
    evaluate_model(network, dataset, device="cpu", protocols=("coco",), predictions_path=path)
    return path


def test_register__opens_nothing_before_it_is_asked(
    exchange: Any, data: Any, tmp_path: Path
) -> None:
    exchange.register("not_there", "urbansyn", tmp_path / "nowhere")

    assert data.MetadataCatalog.get("not_there").thing_classes == list(THING_NAMES)
    with pytest.raises(UserError, match="nowhere"):
        data.DatasetCatalog.get("not_there")


def test_register__gives_what_loaders_and_evaluators_ask_for(
    exchange: Any, data: Any, toystreets: Path
) -> None:
    exchange.register("source", "urbansyn", toystreets / "urbansyn")
    exchange.register("target", "cityscapes", toystreets / "cityscapes", "val")

    assert data.MetadataCatalog.get("source").evaluator_type == "coco"
    target = data.MetadataCatalog.get("target")
    assert target.evaluator_type == "cityscapes_instance"
    assert list(Path(target.gt_dir).glob("*/*_gtFine_instanceIds.png"))
    dicts = data.get_detection_dataset_dicts("source", filter_empty=False)
    assert len(dicts) == len(UrbanSyn(toystreets / "urbansyn"))


def test_register__refuses_a_name_that_is_taken(exchange: Any, data: Any, toystreets: Path) -> None:
    exchange.register("twice", "urbansyn", toystreets / "urbansyn")

    with pytest.raises(UserError, match="new to DatasetCatalog, got 'twice'"):
        exchange.register("twice", "urbansyn", toystreets / "urbansyn")
    with pytest.raises(UserError, match=r"Did you mean urbansyn\?"):
        exchange.register("other", "urbansin", toystreets / "urbansyn")


def test_standard_dicts__become_training_inputs_of_detectron2(
    exchange: Any, data: Any, toystreets: Path
) -> None:
    exchange.register("source", "urbansyn", toystreets / "urbansyn")
    mapper = data.DatasetMapper(
        is_train=True,
        augmentations=[],
        image_format="RGB",
        use_instance_mask=True,
        instance_mask_format="bitmask",
    )
    dataset = UrbanSyn(toystreets / "urbansyn")

    for index, entry in enumerate(data.DatasetCatalog.get("source")):
        instances = mapper(entry)["instances"]
        labels = dataset.read_instances(index)
        assert sorted(instances.gt_classes.tolist()) == sorted(labels.labels.tolist())
        pixels = instances.gt_masks.tensor.any(0).numpy()
        assert np.array_equal(pixels, labels.ids > 0)


@pytest.mark.parametrize("fast", [False, True], ids=["official", "fast"])
def test_judge__coco_evaluator_gives_our_numbers(
    exchange: Any, data: Any, toystreets: Path, predicted: Path, tmp_path: Path, fast: bool
) -> None:
    evaluation: Any = importlib.import_module("detectron2.evaluation")
    exchange.register("target", "cityscapes", toystreets / "cityscapes", "val")
    evaluator = evaluation.COCOEvaluator(
        "target", tasks=("segm",), output_dir=str(tmp_path), use_fast_impl=fast
    )

    theirs = exchange.judge(evaluator, "target", read_predictions(predicted))["segm"]

    dataset = Cityscapes(toystreets / "cityscapes", "val")
    ours = evaluate_predictions(predicted, dataset, protocols=("coco",))["coco"]
    assert ours["AP"] > 0.02
    assert theirs["AP"] / 100 == pytest.approx(ours["AP"], abs=1e-12)
    assert theirs["AP50"] / 100 == pytest.approx(ours["AP50"], abs=1e-12)
    for name, found in ours["per_class"].items():
        wanted = float("nan") if found is None else found["AP"]
        assert theirs[f"AP-{name}"] / 100 == pytest.approx(wanted, abs=1e-12, nan_ok=True)


@pytest.fixture
def _cityscapes_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the official scripts where detectron2 may look for them: in its authors' own folders."""
    evaluated = "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling"
    importlib.import_module("cityscapesscripts.helpers.labels")
    importlib.import_module(evaluated)
    above = "deeplearning.projects.cityscapesApi"
    for name in ("deeplearning", "deeplearning.projects", above):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "cityscapesscripts":
            monkeypatch.setitem(sys.modules, f"{above}.{name}", module)


@pytest.mark.usefixtures("_cityscapes_scripts")
def test_judge__cityscapes_evaluator_gives_our_numbers(
    exchange: Any,
    data: Any,
    toystreets: Path,
    predicted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the official script leaves a file where it is called
    evaluation: Any = importlib.import_module("detectron2.evaluation")
    exchange.register("target", "cityscapes", toystreets / "cityscapes", "val")
    evaluator = evaluation.CityscapesInstanceEvaluator("target")

    theirs = exchange.judge(evaluator, "target", read_predictions(predicted))["segm"]

    dataset = Cityscapes(toystreets / "cityscapes", "val")
    ours = evaluate_predictions(predicted, dataset, protocols=("cityscapes",))["cityscapes"]
    assert ours["AP"] > 0.02
    assert float(theirs["AP"]) / 100 == pytest.approx(ours["AP"], abs=1e-12)
    assert float(theirs["AP50"]) / 100 == pytest.approx(ours["AP50"], abs=1e-12)


def test_judge__refuses_predictions_of_other_images(
    exchange: Any, data: Any, toystreets: Path, predicted: Path
) -> None:
    class Nothing:
        def reset(self) -> None: ...
        def process(self, inputs: Any, outputs: Any) -> None: ...

    exchange.register("source", "urbansyn", toystreets / "urbansyn")
    exchange.register("target", "cityscapes", toystreets / "cityscapes", "val")
    (first, *_) = read_predictions(predicted)

    with pytest.raises(UserError, match=r"images of source, each once.*which it does not have"):
        exchange.judge(Nothing(), "source", [first])
    with pytest.raises(UserError, match=r"images of target, each once.*twice"):
        exchange.judge(Nothing(), "target", [first, first])


def test_instances__go_there_and_back(exchange: Any) -> None:
    masks = np.zeros((3, 6, 8), dtype=bool)
    masks[0, 1:4, 2:5] = True
    masks[1, 0, 0] = True
    scores = (0.9, 0.1 + 0.2, 1 / 3)
    labels = (2, 7, 0)
    found = tuple(map(ScoredMask, labels, scores, masks))

    instances = exchange.instances_of(ImagePredictions("a", (6, 8), found))
    again = exchange.predictions_of(instances, "a")

    assert instances.pred_boxes.tensor.tolist() == [[2, 1, 5, 4], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert again.size == (6, 8)
    assert [(d.label, d.score) for d in again.detections] == list(zip(labels, scores, strict=True))
    assert all(map(np.array_equal, (d.pixels() for d in again.detections), masks))


def test_instances__may_be_none(exchange: Any) -> None:
    nothing = exchange.instances_of(ImagePredictions("a", (6, 8), ()))

    assert (len(nothing), nothing.pred_masks.shape) == (0, (0, 6, 8))
    assert exchange.predictions_of(nothing, "a").detections == ()


def test_predictions_of__refuses_other_classes_and_boxes_alone(exchange: Any) -> None:
    structures: Any = importlib.import_module("detectron2.structures")
    boxes = structures.Instances((6, 8), scores=torch.ones(1), pred_classes=torch.tensor([8]))
    with pytest.raises(UserError, match="got no pred_masks"):
        exchange.predictions_of(boxes, "a")
    boxes.pred_masks = torch.ones(1, 6, 8, dtype=torch.bool)
    with pytest.raises(UserError, match=r"our classes 0 to 7 \(person, .*got \[8\]"):
        exchange.predictions_of(boxes, "a")


def test_visualizer__draws_our_predictions_and_labels(
    exchange: Any, data: Any, toystreets: Path, predicted: Path
) -> None:
    visualizer: Any = importlib.import_module("detectron2.utils.visualizer")
    exchange.register("target", "cityscapes", toystreets / "cityscapes", "val")
    metadata = data.MetadataCatalog.get("target")
    (entry, *_) = data.DatasetCatalog.get("target")
    (first, *_) = read_predictions(predicted)
    image = Cityscapes(toystreets / "cityscapes", "val").read_image(0)

    instances = exchange.instances_of(first)
    predictions = visualizer.Visualizer(image, metadata).draw_instance_predictions(instances)
    labels = visualizer.Visualizer(image, metadata).draw_dataset_dict(entry)

    for drawn in (predictions.get_image(), labels.get_image()):
        assert drawn.shape == image.shape
        assert np.abs(drawn.astype(int) - image).mean() > 1
