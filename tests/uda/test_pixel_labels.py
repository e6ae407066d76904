"""Pseudo-labels of pixels and their weights, against loops over pixels."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.structures import TargetSample
from uda4inst.uda.pixel_labels import QualityConfig, pixel_labels, weigh_by_quality

SIZE = (8, 12)


def prediction(images: int = 2) -> SemanticPrediction:
    generator = torch.Generator().manual_seed(1)
    return SemanticPrediction(8 * torch.randn(images, 19, 2, 3, generator=generator), SIZE, cell=4)


def targets(images: int = 2) -> list[TargetSample]:
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[6:, :4] = False
    return [TargetSample(torch.rand(3, *SIZE), valid, f"t{i}") for i in range(images)]


def slow_confidence(said: SemanticPrediction) -> list[list[tuple[int, float]]]:
    """The likeliest class and its probability, pixel by pixel."""
    found = []
    for image in said.at_pixels():
        pixels = []
        for logits in image.reshape(19, -1).T.tolist():
            powers = [math.exp(v - max(logits)) for v in logits]
            best = max(range(19), key=powers.__getitem__)
            pixels.append((best, powers[best] / sum(powers)))
        found.append(pixels)
    return found


def test_pixel_labels__likeliest_class_and_its_probability() -> None:
    said = prediction()
    for labels, expected in zip(pixel_labels(said), slow_confidence(said), strict=True):
        assert labels.best.flatten().tolist() == [best for best, _ in expected]
        probabilities = [p for _, p in expected]
        assert labels.confidence.flatten().tolist() == pytest.approx(probabilities, abs=1e-3)
        assert torch.equal(labels.learned.ids, labels.best)
        assert labels.learned.weights is None


@pytest.mark.parametrize("over", ["image", "batch"])
def test_weigh_by_quality__share_of_sure_pixels(over: str) -> None:
    said = prediction()
    config = QualityConfig.model_validate(
        {"over": over, "threshold": 0.9, "hidden_rows": (1, 2), "leave_out_ego": True}
    )
    weighed = weigh_by_quality(pixel_labels(said), targets(), config)
    shares = [
        sum(confidence >= 0.9 for _, confidence in pixels) / len(pixels)
        for pixels in slow_confidence(said)
    ]
    assert 0 < min(shares) < max(shares) < 1
    if over == "batch":
        shares = [sum(shares) / 2] * 2
    for labels, share in zip(weighed, shares, strict=True):
        assert labels.learned.weights is not None
        for y, row in enumerate(labels.learned.weights.tolist()):
            for x, weight in enumerate(row):
                counts = 1 <= y < 6 and not (y >= 6 and x < 4)
                assert weight == pytest.approx(share if counts else 0.0)


def test_weigh_by_quality__nothing_sure_weighs_nothing() -> None:
    flat = SemanticPrediction(torch.zeros(1, 19, 2, 3), SIZE, cell=4)
    (labels,) = weigh_by_quality(pixel_labels(flat), targets(1), QualityConfig())
    assert labels.learned.weights is not None
    assert not labels.learned.weights.any()
    assert labels.learned.ids.tolist() == labels.best.tolist()


@pytest.mark.parametrize("rows", [[-5, 0], [0, -1]])
def test_quality__rows_are_counted_from_none(rows: list[int]) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        QualityConfig.model_validate({"hidden_rows": rows})
