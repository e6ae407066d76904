"""COCO AP: equality with pycocotools' own summary on exported files, and the known differences."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from uda4inst.evaluation.coco_ap import CocoAP
from uda4inst.formats.coco import (
    CocoImage,
    annotations_of,
    image_numbers,
    write_instances,
    write_results,
)
from uda4inst.formats.predictions import ScoredMask

SIZE = (40, 60)
CAR = 2


def car(top: int, left: int, bottom: int, right: int, score: float = 0.9) -> ScoredMask:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return ScoredMask(CAR, score, mask)


def truth(**values: tuple[int, int, int, int]) -> NDArray[np.int32]:
    ids = np.full(SIZE, 7, dtype=np.int32)
    for key, (top, left, bottom, right) in values.items():
        ids[top:bottom, left:right] = int(key[1:])
    return ids


def ap50(ids: NDArray[np.int32], predictions: list[ScoredMask]) -> float | None:
    ap = CocoAP()
    ap.add(ids, predictions)
    return ap.result().AP50


def test_coco_ap__perfect_prediction_scores_one() -> None:
    ap = CocoAP()
    ap.add(truth(v26000=(0, 0, 20, 20)), [car(0, 0, 20, 20)])
    result = ap.result()
    assert pytest.approx(1.0, abs=1e-12) == result.AP
    assert result.per_class["person"] is None


def test_coco_ap__threshold_is_inclusive() -> None:
    assert ap50(truth(v26000=(0, 0, 20, 20)), [car(0, 0, 20, 10)]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        pytest.param(truth(v26000=(0, 0, 20, 20), v26=(0, 30, 20, 50)), 1.0, id="group_is_crowd"),
        pytest.param(truth(v26000=(0, 0, 20, 20), v0=(0, 30, 20, 50)), 0.5, id="void_no_excuse"),
    ],
)
def test_coco_ap__excuses_crowds_alone(ids: NDArray[np.int32], expected: float) -> None:
    predictions = [car(0, 0, 20, 20, 0.5), car(0, 30, 20, 50, 0.9)]
    assert ap50(ids, predictions) == pytest.approx(expected)


def test_coco_ap__small_object_is_a_target() -> None:
    assert ap50(truth(v26000=(0, 0, 5, 5)), []) == 0.0


def test_coco_ap__no_ground_truth_gives_none() -> None:
    assert ap50(truth(), [car(0, 0, 5, 5)]) is None
    assert ap50(truth(v26=(0, 0, 5, 5)), [car(0, 0, 5, 5)]) is None
    assert CocoAP().result().AP is None


def test_coco_ap__rejects_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"size \(40, 60\), got \(2, 2\)"):
        ap50(truth(), [ScoredMask(CAR, 0.5, np.ones((2, 2), dtype=bool))])


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_coco_ap__equals_pycocotools_on_the_exported_files(
    seed: int, random_set: Callable[[int], Any], tmp_path: Path
) -> None:
    images = random_set(seed) + random_set(seed + 100)
    predictions = [p for _, p in images]
    write_instances(
        tmp_path / "gt.json",
        [CocoImage(p.sample_id, p.size, annotations_of(ids)) for ids, p in images],
        description="random",
    )
    numbers = image_numbers(p.sample_id for p in predictions)
    write_results(tmp_path / "dt.json", predictions, numbers=numbers)
    first, second = CocoAP(), CocoAP()
    for number, (ids, image) in enumerate(images):
        (first if number < 2 else second).add(ids, image.detections)
    first.merge(second)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        truths = COCO(str(tmp_path / "gt.json"))
        evaluation = COCOeval(truths, truths.loadRes(str(tmp_path / "dt.json")), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert "Average Precision" in printed.getvalue()
    result = first.result()
    assert evaluation.stats[:2].tolist() == [result.AP, result.AP50]


def test_coco_ap__prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ap50(truth(v26000=(0, 0, 20, 20)), [car(0, 0, 20, 20)])
    assert capfd.readouterr().out == ""
