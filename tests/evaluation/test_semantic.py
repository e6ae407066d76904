"""IoU from pooled pixels, on drawn cases and beside the official tool; whole evaluations."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from uda4inst.classes import TRAIN_ID_TO_LABEL
from uda4inst.errors import UserError
from uda4inst.evaluation.semantic import (
    CLASS_NAMES,
    CLASS_SETS,
    SemanticScores,
    evaluate_semantic,
    segment,
)
from uda4inst.formats.label_maps import LabelMaps
from uda4inst.models.semantic.prediction import SemanticPrediction

ROAD, CAR, SKY, IGNORE = 0, 13, 10, 255


def row(*ids: int) -> np.ndarray:
    return np.array([ids], dtype=np.uint8)


def test_semantic_scores__pools_pixels_over_images() -> None:
    first, second = SemanticScores(), SemanticScores()
    first.add(row(ROAD, ROAD, CAR, IGNORE), row(ROAD, CAR, CAR, SKY))
    second.add(row(CAR, CAR), row(CAR, IGNORE))
    first.merge(second)
    iou = first.iou()
    assert (iou["road"], iou["car"], iou["sky"]) == (1 / 2, 2 / 4, None)
    assert first.miou() == 0.5
    assert first.miou(["sky"]) is None
    # road: 1 of 2 right, car: 2 of 3; predictions of no class are wrong
    assert first.accuracies() == {name: None for name in CLASS_NAMES} | {
        "road": 1 / 2,
        "car": 2 / 3,
    }
    assert first.accuracy() == 3 / 5
    found = first.to_json()
    assert (found["mIoU"], found["accuracy"]) == (0.5, 3 / 5)
    assert found["per_class"]["car"] == {"IoU": 0.5, "accuracy": 2 / 3}
    assert found["per_class"]["sky"] is None


def test_semantic_scores__a_class_that_is_only_predicted_is_all_wrong() -> None:
    scores = SemanticScores()
    scores.add(row(ROAD, ROAD), row(ROAD, SKY))
    assert scores.to_json()["per_class"]["sky"] == {"IoU": 0.0, "accuracy": None}


def test_semantic_scores__nothing_seen() -> None:
    found = SemanticScores().to_json()
    assert (found["mIoU"], found["accuracy"]) == (None, None)
    assert set(found["per_class"].values()) == {None}


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (row(19), row(0), r"truth must hold .* got \[19\]"),
        (row(0), row(20), r"predicted must hold .* got \[20\]"),
        (row(0, 0), row(0), r"size \(1, 2\), got \(1, 1\)"),
    ],
)
def test_semantic_scores__refuses(truth: np.ndarray, predicted: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemanticScores().add(truth, predicted)


def test_semantic_scores__unknown_class_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"among road, sidewalk.*got \['tree'\]"):
        SemanticScores().miou(["tree"])


@pytest.mark.parametrize("seed", range(12))
def test_semantic_scores__equal_the_official_tool(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truths, predictions = SemanticScores(), [], []
    classes = rng.choice(19, size=rng.integers(2, 12), replace=False)
    for number in range(rng.integers(1, 4)):
        size = (int(rng.integers(8, 30)), int(rng.integers(8, 40)))
        truth = rng.choice([*classes, 255], size=size).astype(np.uint8)
        wrong = rng.choice([*range(19), 255], size=size).astype(np.uint8)
        predicted = np.where(rng.random(size) < rng.random(), truth, wrong).astype(np.uint8)
        scores.add(truth, predicted)
        for kind, ids, paths in (("gt", truth, truths), ("pred", predicted, predictions)):
            path = tmp_path / f"{kind}{number}_labelIds.png"
            Image.fromarray(TRAIN_ID_TO_LABEL[ids].astype(np.uint8)).save(path)
            paths.append(str(path))
    expected, confusion = official_result(predictions, truths)
    found = scores.to_json()
    for name, label_id in zip(CLASS_NAMES, TRAIN_ID_TO_LABEL[:19].tolist(), strict=True):
        theirs = expected["classScores"][name]
        mine = found["per_class"][name]
        assert (None if np.isnan(theirs) else theirs) == (mine and mine["IoU"])
        there = confusion[label_id].sum()
        if there:
            assert mine["accuracy"] == confusion[label_id, label_id] / there
    assert found["mIoU"] == pytest.approx(expected["averageScoreClasses"], abs=1e-12)
    judged = confusion[TRAIN_ID_TO_LABEL[:19]]
    right = confusion.diagonal()[TRAIN_ID_TO_LABEL[:19]]
    assert found["accuracy"] == right.sum() / judged.sum()
    # The official means are over all classes; those over fewer follow from its class scores.
    for key, names in CLASS_SETS.items():
        theirs = [expected["classScores"][name] for name in names]
        known = [score for score in theirs if not np.isnan(score)]
        assert found[key] == (pytest.approx(np.mean(known), abs=1e-12) if known else None)
    ids = TRAIN_ID_TO_LABEL[:19]
    np.testing.assert_array_equal(found["confusion"], confusion[np.ix_(ids, ids)])
    np.testing.assert_array_equal(found["no_class"], confusion[ids, 0])


def test_class_sets__are_synthias() -> None:
    sets = {key: {CLASS_NAMES.index(n) for n in names} for key, names in CLASS_SETS.items()}
    assert sets["mIoU16"] == set(range(19)) - {9, 14, 16}
    assert sets["mIoU13"] == sets["mIoU16"] - {3, 4, 5}
    assert sets["mIoU_things"] == set(range(11, 19))


def written() -> dict[str, Any]:
    scores = SemanticScores()
    scores.add(row(ROAD, ROAD, CAR, CAR, IGNORE), row(ROAD, CAR, CAR, IGNORE, SKY))
    return json.loads(json.dumps(scores.to_json()))


def test_semantic_scores__are_read_back_from_their_json() -> None:
    found = SemanticScores.from_json(written(), where="a file")
    assert found is not None
    assert found.to_json() == written()
    earlier = {key: written()[key] for key in ("mIoU", "accuracy", "per_class")}
    assert SemanticScores.from_json(earlier, where="a file") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("confusion", [[1, 2], [3, 4]]),
        ("confusion", [[0] * 19] * 18 + [[0] * 18]),
        ("confusion", "many"),
        ("confusion", None),
        ("confusion", [[0.5] * 19] * 19),
        ("no_class", [-1] * 19),
        ("no_class", [0] * 18),
        ("no_class", None),
    ],
)
def test_semantic_scores__damaged_counts_are_refused(key: str, value: object) -> None:
    with pytest.raises(UserError, match=r"confusion must be 19 lists .* \(a file\)"):
        SemanticScores.from_json(written() | {key: value}, where="a file")


def official_result(predictions: list[str], truths: list[str]) -> tuple[dict[str, Any], np.ndarray]:
    """Return what the official tool says of label id pictures, and its confusion matrix."""
    tool = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="the comparison needs cityscapesScripts (pip install -e .[dev])",
    )
    args = tool.args
    args.JSONOutput, args.quiet, args.evalInstLevelScore = False, True, False
    args.evalPixelAccuracy = False
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, mock.patch.object(np, "in1d", np.isin, create=True):
        result = tool.evaluateImgLists(predictions, truths, args)
        confusion = tool.generateMatrix(args)
        for predicted, truth in zip(predictions, truths, strict=True):
            tool.evaluatePair(predicted, truth, confusion, {}, {}, args)
    return result, np.asarray(confusion)


class ByBrightness(nn.Module):
    """A stand-in network: road where it is dark, sky where it is bright."""

    def forward(self, images: Tensor) -> SemanticPrediction:
        cells = nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 4)
        logits = torch.full((len(images), 19, *cells.shape[-2:]), -9.0)
        logits[:, ROAD : ROAD + 1], logits[:, SKY : SKY + 1] = 0.5 - cells, cells - 0.5
        return SemanticPrediction(logits, (images.shape[-2], images.shape[-1]))


class Pictures:
    """Two pictures of different size, dark below and bright above; the first has a car."""

    sizes = ((16, 32), (32, 32))

    def __len__(self) -> int:
        return len(self.sizes)

    def basename(self, index: int) -> str:
        return f"picture_{index}"

    def read_image(self, index: int) -> np.ndarray:
        height, width = self.sizes[index]
        image = np.zeros((height, width, 3), np.uint8)
        image[: height // 2] = 255
        return image

    def read_semantic(self, index: int) -> np.ndarray:
        truth = np.where(self.read_image(index)[..., 0] > 0, SKY, ROAD).astype(np.uint8)
        if index == 0:
            truth[-4:, :8] = CAR
            truth[-1, -8:] = IGNORE
        return truth


def test_evaluate_semantic__judges_and_keeps_the_maps(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    network = ByBrightness().train()
    found = evaluate_semantic(
        network,
        Pictures(),
        device="cpu",
        predictions_path=tmp_path / "new" / "student.zip",
        progress=lambda done, total: seen.append((done, total)),
    )
    road, sky, car = 8 * 32 - 32 - 8 + 16 * 32, 8 * 32 + 16 * 32, 32
    assert found["per_class"]["road"] == {"IoU": road / (road + car), "accuracy": 1.0}
    assert found["per_class"]["car"] == {"IoU": 0.0, "accuracy": 0.0}
    assert found["accuracy"] == (road + sky) / (road + sky + car)
    assert found["mIoU"] == pytest.approx((road / (road + car) + 1 + 0) / 3)
    assert seen == [(1, 2), (2, 2)]
    assert network.training
    maps = LabelMaps(tmp_path / "new" / "student.zip")
    assert maps.names == {"picture_0", "picture_1"}
    assert (maps.read("picture_0")[-4:, :8] == ROAD).all()
    assert evaluate_semantic(network, Pictures(), device="cpu", limit=1)["per_class"]["sky"]


def test_segment__answers_at_the_pictures_own_size_whatever_the_network_sees() -> None:
    pictures = Pictures()
    images = (pictures.read_image(index) for index in range(2))
    small = list(segment(ByBrightness(), images, device="cpu", short_side=8))
    assert [ids.shape for ids in small] == list(pictures.sizes)
    for ids in small:
        assert (ids[:4] == SKY).all()
        assert (ids[-4:] == ROAD).all()


def test_evaluate_semantic__an_annotation_of_another_size_is_named() -> None:
    class Odd(Pictures):
        def read_semantic(self, index: int) -> np.ndarray:
            return super().read_semantic(index)[:-1]

    with pytest.raises(UserError, match=r"size \(16, 32\), got \(15, 32\) \(picture_0\)"):
        evaluate_semantic(ByBrightness(), Odd(), device="cpu")
