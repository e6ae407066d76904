"""Evaluation of networks and of files: one set of numbers, whichever way it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from uda4inst.data.readers import UrbanSyn, truth_class
from uda4inst.data.readers.cityscapes import CityscapesLabels
from uda4inst.data.reports.export import export_cityscapes, export_coco
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.evaluate import evaluate_model
from uda4inst.evaluation.inference import resized_size
from uda4inst.evaluation.resampling import RESAMPLES, read_resampled
from uda4inst.evaluation.scoring import evaluate_predictions, to_json
from uda4inst.formats.cityscapes_submission import write_submission
from uda4inst.formats.coco import image_numbers, write_results
from uda4inst.formats.predictions import (
    ImagePredictions,
    ScoredMask,
    read_predictions,
    to_line,
    writing_text,
)
from uda4inst.models.mask2former.network import build_model
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.toystreets.write import ToyStreetsTree, write_toystreets

CAR, PERSON, BUS = 2, 0, 4
SIZES = ((64, 96), (64, 96), (40, 72))


class ReadsColors(nn.Module):
    """A network that finds each object by its colour: red is its number, green its class + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Prediction:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.batches.append(len(images))
        height, width = images.shape[-2:]
        padded = nn.functional.pad(images, (0, -width % 32, 0, -height % 32))
        red, green = (padded[:, :2, 2::4, 2::4] * 255).round().unbind(1)
        numbers = torch.arange(1, 6).view(1, 5, 1, 1)
        masks = red[:, None] == numbers
        classes = torch.where(masks, green[:, None], 0.0).flatten(2).amax(-1).long()
        one_hot = nn.functional.one_hot((classes - 1) % 9, 9).float()
        return Prediction(20 * one_hot[None], (20.0 * masks - 10,), (height, width))


class Streets:
    """A Cityscapes-like split on disk, objects on a grid of 4 pixels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: list[NDArray[np.uint8]] = []
        folder = root / "gtFine/val/bonn"
        folder.mkdir(parents=True)
        for number, size in enumerate(SIZES):
            ids = np.full(size, 7, dtype=np.uint16)
            image = np.zeros((*size, 3), dtype=np.uint8)
            boxes = ((CAR, 26001, (8, 8, 28, 40)), (PERSON, 24000, (12, 48, 36, 60)))
            for slot, (thing, value, (top, left, bottom, right)) in enumerate(boxes, start=1):
                ids[top:bottom, left:right] = value
                image[top:bottom, left:right, 0] = slot
                image[top:bottom, left:right, 1] = thing + 1
            Image.fromarray(ids).save(self.folder_path(number))
            self.images.append(image)

    def folder_path(self, index: int) -> Path:
        return self.root / f"gtFine/val/bonn/{self.basename(index)}_gtFine_instanceIds.png"

    def __len__(self) -> int:
        return len(SIZES)

    def basename(self, index: int) -> str:
        return f"bonn_{index:06d}_000019"

    def read_image(self, index: int) -> NDArray[np.uint8]:
        return self.images[index]

    def read_instance_ids(self, index: int) -> NDArray[np.integer]:
        return CityscapesLabels(self.root, "val").read_instance_ids(index)

    def read_semantic(self, index: int) -> NDArray[np.uint8]:
        return CityscapesLabels(self.root, "val").read_semantic(index)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> ToyStreetsTree:
    out = tmp_path_factory.mktemp("toy") / "t"
    return write_toystreets(out, size=(64, 128), train=3, val=1, workers=0)


@pytest.fixture
def streets(tmp_path: Path) -> Streets:
    return Streets(tmp_path / "root")


def test_evaluate_model__perfect_network_scores_one(streets: Streets) -> None:
    model = ReadsColors().train()
    seen: list[tuple[int, int]] = []
    result = evaluate_model(
        model, streets, device="cpu", progress=lambda done, total: seen.append((done, total))
    )
    for protocol in ("cityscapes", "coco"):
        assert result[protocol]["AP"] == pytest.approx(1.0)
        assert result[protocol]["per_class"]["car"]["AP50"] == pytest.approx(1.0)
        assert result[protocol]["per_class"]["bus"] is None
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert model.training
    assert model.batches == [2, 1]  # neighbours of one size share a forward


def test_evaluate_model__resized_input_gives_masks_of_the_images_size(
    streets: Streets, tmp_path: Path
) -> None:
    result = evaluate_model(
        ReadsColors(),
        streets,
        device="cpu",
        short_side=128,
        predictions_path=tmp_path / "p.jsonl.gz",
    )
    assert result["cityscapes"]["AP50"] == pytest.approx(1.0)
    assert [image.size for image in read_predictions(tmp_path / "p.jsonl.gz")] == list(SIZES)
    resamples = read_resampled(tmp_path / "p_resampled.npz")
    assert resamples.images == tuple(streets.basename(index) for index in range(3))
    assert resamples.by_class[:, CAR, 1] == pytest.approx(
        np.ones(RESAMPLES)
    )  # right in every image
    assert np.isnan(resamples.by_class[:, BUS]).all()  # in none


def test_evaluate_model__scores_by_resample_are_of_the_judged_classes(
    streets: Streets, tmp_path: Path
) -> None:
    evaluate_model(
        ReadsColors(),
        streets,
        device="cpu",
        classes=["bus", "car"],
        predictions_path=tmp_path / "p.jsonl.gz",
    )
    resamples = read_resampled(tmp_path / "p_resampled.npz")
    there = ~np.isnan(resamples.by_class[..., 0]).all(axis=0)
    assert np.flatnonzero(there).tolist() == [CAR]
    assert resamples.overall == pytest.approx(resamples.by_class[:, CAR])


def test_evaluate_model__limit_and_protocols(streets: Streets) -> None:
    result = evaluate_model(ReadsColors(), streets, device="cpu", protocols=["coco"], limit=1)
    assert list(result) == ["coco"]


def test_evaluate_model__unknown_protocol_lists_the_known(streets: Streets) -> None:
    with pytest.raises(UserError, match=r"among cityscapes, coco, thing_pixels, got \['voc'\]"):
        evaluate_model(ReadsColors(), streets, device="cpu", protocols=["voc"])


def test_evaluate_model__annotation_of_another_size(streets: Streets, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(streets.folder_path(1))
    with pytest.raises(UserError, match=r"size \(64, 96\), got \(8, 8\) .*bonn_000001"):
        evaluate_model(
            ReadsColors(), streets, device="cpu", predictions_path=tmp_path / "p.jsonl.gz"
        )
    assert not (tmp_path / "p.jsonl.gz").exists()


def test_evaluate_model__tiny_network_runs(streets: Streets) -> None:
    torch.manual_seed(0)
    model, _ = build_model("tiny", weights=None)
    result = evaluate_model(model, streets, device="cpu", limit=2)
    assert 0 <= result["cityscapes"]["AP"] <= 1
    json.loads(to_json(result))


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((1024, 2048), 1024, (1024, 2048)),
        ((128, 256), None, (128, 256)),
        ((500, 500), 800, (800, 800)),
        ((1000, 3000), 800, (683, 2048)),
    ],
)
def test_resized_size(size: tuple[int, int], short: int | None, expected: tuple[int, int]) -> None:
    assert resized_size(size, short, 2048) == expected


def test_evaluate_predictions__every_format_gives_the_networks_numbers(
    random_set: Callable[[int], Any], truth_writer: Any, tmp_path: Path
) -> None:
    images = random_set(21) + random_set(22)
    truth_writer(tmp_path / "root", images)
    predictions = [p for _, p in images]
    write_submission(tmp_path / "folder", predictions)
    write_results(tmp_path / "names.json", predictions)
    numbers = image_numbers(p.sample_id for p in predictions)
    write_results(tmp_path / "numbers.json", predictions, numbers=numbers)
    results = [
        evaluate_predictions(tmp_path / name, CityscapesLabels(tmp_path / "root", "val"))
        for name in ("folder", "names.json", "numbers.json")
    ]
    assert results[0]["images"] == len(images)
    for protocol in ("cityscapes", "coco"):
        assert 0 < results[0][protocol]["AP"] < 1
        assert [r[protocol] for r in results[1:]] == [results[0][protocol]] * 2


def test_evaluate_predictions__own_file_repeats_the_evaluation(
    streets: Streets, tmp_path: Path
) -> None:
    path = tmp_path / "p.jsonl.gz"
    expected = evaluate_model(ReadsColors(), streets, device="cpu", predictions_path=path)
    result = evaluate_predictions(path, CityscapesLabels(streets.root, "val"))
    assert {k: result[k] for k in expected} == expected


def test_evaluate_predictions__of_a_network_of_some_classes(
    streets: Streets, tmp_path: Path
) -> None:
    path, classes = tmp_path / "p.jsonl.gz", ["car", "bus"]
    expected = evaluate_model(
        ReadsColors(), streets, device="cpu", predictions_path=path, classes=classes
    )
    truth = CityscapesLabels(streets.root, "val")
    result = evaluate_predictions(path, truth, classes=classes)
    assert {k: result[k] for k in expected} == expected
    assert result["cityscapes"]["AP"] != evaluate_predictions(path, truth)["cityscapes"]["AP"]


def test_evaluate_predictions__images_without_results_are_empty(
    streets: Streets, tmp_path: Path
) -> None:
    (tmp_path / "r.json").write_text("[]")
    result = evaluate_predictions(tmp_path / "r.json", CityscapesLabels(streets.root, "val"))
    assert result["cityscapes"]["AP"] == 0.0
    assert result["coco"]["AP"] == 0.0


@pytest.mark.parametrize(
    ("path", "split", "message"),
    [
        pytest.param("nothing.json", "val", "got nothing there", id="no_predictions"),
        pytest.param("folder", "val", "image bonn_000000_000019 has no", id="empty_folder"),
        pytest.param(
            "folder", "test", r"gtFine/test, got no folder .* Splits there: val", id="split"
        ),
    ],
)
def test_evaluate_predictions__refuses_what_is_not_there(
    streets: Streets, tmp_path: Path, path: str, split: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=message):
        evaluate_predictions(tmp_path / path, CityscapesLabels(streets.root, split))


def test_evaluate_predictions__own_file_of_another_split(streets: Streets, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    evaluate_model(ReadsColors(), streets, device="cpu", predictions_path=path)
    streets.folder_path(0).unlink()
    with pytest.raises(UserError, match="got 'bonn_000000_000019'"):
        evaluate_predictions(path, CityscapesLabels(streets.root, "val"))


@pytest.mark.parametrize("name", ["urbansyn", "coco", "cityscapes"])
def test_evaluate_predictions__any_labelled_data_set(
    tree: ToyStreetsTree, tmp_path: Path, name: str
) -> None:
    source = UrbanSyn(tree.source_root)
    export_coco(source, tmp_path / "coco", workers=0)
    export_cityscapes(source, tmp_path / "cityscapes", split="train", workers=0)
    root = tree.source_root if name == "urbansyn" else tmp_path / name
    truth = truth_class(name)(root, "train")
    perfect = [
        ImagePredictions(truth.basename(index), source.size_of(index), masks_of(source, index))
        for index in range(len(source))
    ]
    write_results(tmp_path / "r.json", perfect)
    with writing_text(tmp_path / "p.jsonl.gz", compressed=True) as put:
        for image in perfect:
            put(to_line(image))
    write_submission(tmp_path / "folder", perfect)
    results = [
        evaluate_predictions(tmp_path / n, truth) for n in ("r.json", "p.jsonl.gz", "folder")
    ]
    assert results[0]["images"] == len(source)
    assert results[0]["cityscapes"]["AP"] == pytest.approx(1.0)
    assert [r["cityscapes"] for r in results[1:]] == [results[0]["cityscapes"]] * 2


def masks_of(dataset: ImageTree, index: int) -> tuple[ScoredMask, ...]:
    labels = dataset.read_labels(index)
    things = enumerate(labels.labels.tolist(), start=1)
    return tuple(ScoredMask(thing, 0.5, labels.ids == number) for number, thing in things)


@pytest.mark.parametrize(("name", "message"), [("gta5", "got gta5"), ("voc", "FORMAT must be")])
def test_truth_class__no_instances(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        truth_class(name)


@pytest.mark.slow
def test_evaluate_predictions__workers_change_nothing(
    random_set: Callable[[int], Any], truth_writer: Any, tmp_path: Path
) -> None:
    images = [image for seed in range(31, 41) for image in random_set(seed)]
    truth_writer(tmp_path / "root", images)
    write_submission(tmp_path / "folder", [p for _, p in images])
    alone, shared = (
        evaluate_predictions(
            tmp_path / "folder", CityscapesLabels(tmp_path / "root", "val"), workers=n
        )
        for n in (1, 2)
    )
    assert shared == alone
