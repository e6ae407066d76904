"""Cityscapes AP: hand-made cases, and equality to the bit with the official tool."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from uda4inst.classes import THING_NAMES
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.formats.cityscapes_submission import read_submission, write_submission
from uda4inst.formats.predictions import ScoredMask
from uda4inst.formats.rle import rle_encode

RandomSets = Callable[[int], Any]
SIZE = (40, 60)
CAR = 2


def evaluate(*images: tuple[NDArray[np.int32], list[ScoredMask]]) -> CityscapesAP:
    ap = CityscapesAP()
    for ids, predictions in images:
        ap.add(ids, predictions)
    return ap


def boxes(**values: tuple[int, int, int, int]) -> NDArray[np.int32]:
    """Return a map of road with boxes (top, left, bottom, right); the keyword is `v<value>`."""
    ids = np.full(SIZE, 7, dtype=np.int32)
    for key, (top, left, bottom, right) in values.items():
        ids[top:bottom, left:right] = int(key[1:])
    return ids


def car(top: int, left: int, bottom: int, right: int, score: float = 0.9) -> ScoredMask:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return ScoredMask(CAR, score, mask)


def ap50(ap: CityscapesAP) -> float:
    return float(ap.matrix()[CAR, 0])


ONE_CAR = boxes(v26000=(0, 0, 20, 20))


def test_cityscapes_ap__perfect_prediction_scores_one() -> None:
    result = evaluate((ONE_CAR, [car(0, 0, 20, 20)])).result()
    assert (result.AP, result.AP50) == (1.0, 1.0)
    assert result.per_class["person"] is None
    assert result.to_json()["per_class"]["car"] == {"AP": 1.0, "AP50": 1.0}


def test_cityscapes_ap__threshold_is_strict() -> None:
    half = evaluate((ONE_CAR, [car(0, 0, 20, 10)]))  # IoU is exactly .5
    assert ap50(half) == 0.0


def test_cityscapes_ap__best_score_is_right_and_the_other_wrong() -> None:
    both = evaluate((ONE_CAR, [car(0, 0, 20, 19, 0.3), car(0, 0, 20, 20, 0.6)]))
    wrong_first = evaluate((ONE_CAR, [car(0, 30, 20, 50, 0.9), car(0, 0, 20, 20, 0.6)]))
    assert ap50(both) == 1.0
    assert ap50(wrong_first) == 0.25  # from (recall 1, precision .5) to (0, 0)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        pytest.param(boxes(v26000=(0, 0, 20, 20), v26=(0, 30, 20, 50)), 1.0, id="group"),
        pytest.param(boxes(v26000=(0, 0, 20, 20), v0=(0, 30, 20, 50)), 1.0, id="void"),
        pytest.param(boxes(v26000=(0, 0, 20, 20), v29=(0, 30, 20, 50)), 1.0, id="caravan_group"),
        pytest.param(boxes(v26000=(0, 0, 20, 20), v29000=(0, 30, 20, 50)), 0.25, id="caravan"),
        pytest.param(boxes(v26000=(0, 0, 20, 20), v27=(0, 30, 20, 50)), 0.25, id="other_group"),
    ],
)
def test_cityscapes_ap__excuses_what_lies_on_ignored_pixels(
    ids: NDArray[np.int32], expected: float
) -> None:
    assert ap50(evaluate((ids, [car(0, 0, 20, 20, 0.5), car(0, 30, 20, 50, 0.9)]))) == expected


def test_cityscapes_ap__small_object_is_no_target() -> None:
    ids = boxes(v26000=(0, 0, 20, 20), v26001=(0, 30, 9, 41))  # 99 pixels
    assert ap50(evaluate((ids, [car(0, 0, 20, 20)]))) == 1.0
    assert np.isnan(ap50(evaluate((boxes(v26001=(0, 30, 9, 41)), [car(0, 0, 20, 20)]))))


def test_cityscapes_ap__all_excused_and_none_right_is_zero() -> None:
    ids = boxes(v26000=(0, 0, 20, 20), v26=(0, 30, 20, 50))
    assert ap50(evaluate((ids, [car(0, 30, 20, 50)]))) == 0.0


def test_cityscapes_ap__skips_empty_masks_and_other_classes() -> None:
    other = ScoredMask(-1, 1.0, np.ones(SIZE, dtype=bool))
    assert ap50(evaluate((ONE_CAR, [car(0, 0, 0, 0, 1.0), other, car(0, 0, 20, 20)]))) == 1.0


def test_cityscapes_ap__no_images_gives_no_averages() -> None:
    result = CityscapesAP().result()
    assert result.AP is None
    assert set(result.per_class.values()) == {None}


def test_cityscapes_ap__rejects_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"size \(40, 60\), got \(2, 2\)"):
        evaluate((ONE_CAR, [ScoredMask(CAR, 0.5, np.ones((2, 2), dtype=bool))]))


def test_cityscapes_ap__rejects_unknown_ids() -> None:
    with pytest.raises(ValueError, match=r"got \[34, 65535\]"):
        evaluate((np.array([[34, 65535]], dtype=np.int32), []))


def test_cityscapes_ap__merge_and_rle_change_nothing(random_set: RandomSets) -> None:
    whole, first, second = CityscapesAP(), CityscapesAP(), CityscapesAP()
    for number, (ids, image) in enumerate(random_set(3) + random_set(4) + random_set(5)):
        whole.add(ids, image.detections)
        coded = [ScoredMask(d.label, d.score, rle_encode(d.pixels())) for d in image.detections]
        (first, second)[number % 2].add(ids, coded)
    second = pickle.loads(pickle.dumps(second))
    second.merge(first)
    np.testing.assert_array_equal(second.matrix(), whole.matrix())


def assert_equals_official(
    seeds: range, random_set: RandomSets, truth_writer: Any, official: Any, folder: Path
) -> None:
    crashed = 0
    for seed in seeds:
        images = random_set(seed)
        root, submission = folder / f"{seed}/root", folder / f"{seed}/submission"
        truth_writer(root, images)
        write_submission(submission, [predictions for _, predictions in images])
        lines = read_submission(submission, [predictions.sample_id for _, predictions in images])
        ours = CityscapesAP()
        for ids, predictions in images:
            ours.add(ids, [line.load(ids.shape) for line in lines[predictions.sample_id]])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # mean of an empty slice
                theirs = official(root, submission, folder / f"{seed}/scratch")
        except IndexError:  # every prediction of a class excused, none right: documented
            crashed += 1
            continue
        result = ours.result()
        np.testing.assert_array_equal(ours.matrix(), np.array(theirs["resultApMatrix"])[0])
        expected = theirs["averages"]
        np.testing.assert_array_equal(
            np.array([result.AP, result.AP50], dtype=float),
            [expected["allAp"], expected["allAp50%"]],
        )
        classes = [result.per_class[name] for name in THING_NAMES]
        np.testing.assert_array_equal(
            [(np.nan, np.nan) if c is None else (c.AP, c.AP50) for c in classes],
            [
                (expected["classes"][name]["ap"], expected["classes"][name]["ap50%"])
                for name in THING_NAMES
            ],
        )
    assert crashed < len(seeds) / 4


def test_cityscapes_ap__equals_the_official_tool(
    random_set: RandomSets, truth_writer: Any, official: Any, tmp_path: Path
) -> None:
    assert_equals_official(range(70), random_set, truth_writer, official, tmp_path)


@pytest.mark.slow
def test_cityscapes_ap__equals_the_official_tool_on_many_sets(
    random_set: RandomSets, truth_writer: Any, official: Any, tmp_path: Path
) -> None:
    assert_equals_official(range(100, 400), random_set, truth_writer, official, tmp_path)
