"""IoU from pooled pixels, on drawn cases."""

from __future__ import annotations

import numpy as np
import pytest

from uda4inst.evaluation.semantic import SemanticScores

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
    assert first.to_json()["per_class"]["car"] == 0.5


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
