"""Error maps and the order of images, on drawn cases."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from uda4inst.colors import BACKGROUND_RIGHT, NOT_OF_INTEREST, RIGHT, VOID, WRONG
from uda4inst.errors import UserError
from uda4inst.evaluation.error_maps import (
    ClassError,
    class_error,
    confusion,
    error_map,
    index_errors,
    predicted_classes,
    true_classes,
)
from uda4inst.formats.predictions import ImagePredictions, ScoredMask

PERSON, CAR = 0, 2
SIZE = (1, 6)


def detection(label: int, score: float, pixels: str) -> ScoredMask:
    return ScoredMask(label, score, np.array([[p == "x" for p in pixels]]))


TRUTH = true_classes(np.array([[26001, 26001, 26, 24000, 7, 29001]], dtype=np.uint16))
FOUND = (
    detection(CAR, 0.9, "xx...x"),
    detection(PERSON, 0.8, ".xx.x."),
    detection(-1, 1.0, "xxxxxx"),
    detection(PERSON, 0.5, "...x.."),
)
PREDICTED = predicted_classes(FOUND, SIZE, score_threshold=0.5)


def test_true_classes__groups_count_and_caravans_are_void() -> None:
    assert TRUTH.tolist() == [[3, 3, 3, 1, 0, 255]]


def test_predicted_classes__surest_on_top_above_the_threshold() -> None:
    assert PREDICTED.tolist() == [[3, 3, 1, 0, 1, 3]]


@pytest.mark.parametrize(
    ("thing", "codes"),
    [
        (None, [RIGHT, RIGHT, WRONG, WRONG, WRONG, VOID]),
        (CAR, [RIGHT, RIGHT, WRONG, NOT_OF_INTEREST, NOT_OF_INTEREST, VOID]),
        (PERSON, [NOT_OF_INTEREST, NOT_OF_INTEREST, WRONG, WRONG, WRONG, VOID]),
    ],
)
def test_error_map(thing: int | None, codes: list[int]) -> None:
    assert error_map(PREDICTED, TRUTH, thing=thing).tolist() == [codes]


def test_error_map__rightly_empty_background() -> None:
    nothing = np.zeros((1, 2), dtype=np.uint8)
    assert error_map(nothing, nothing).tolist() == [[BACKGROUND_RIGHT] * 2]


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (CAR, ClassError(0, 1, 2)),
        (PERSON, ClassError(2, 1, 0)),
        (5, ClassError(0, 0, 0)),
        (None, ClassError(1, 2, 2)),
    ],
)
def test_class_error(thing: int | None, expected: ClassError) -> None:
    assert class_error(confusion(PREDICTED, TRUTH), thing) == expected


def test_class_error__share_is_one_minus_iou() -> None:
    assert ClassError(1, 1, 2).error_share == 0.5
    assert ClassError(0, 0, 0).error_share == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_class_error__equals_counting_the_error_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth: NDArray[np.uint8] = rng.choice([0, 1, 2, 3, 255], size=(20, 30)).astype(np.uint8)
    predicted: NDArray[np.uint8] = rng.choice([0, 1, 2, 3], size=(20, 30)).astype(np.uint8)
    counts = confusion(predicted, truth)
    for thing in (None, 0, 1, 2):
        codes = error_map(predicted, truth, thing=thing)
        error = class_error(counts, thing)
        assert error.wrong_pixels == (codes == WRONG).sum()
        assert error.right_pixels == (codes == RIGHT).sum()


def test_error_index__orders_images_worst_first() -> None:
    names = [f"bonn_{n:06d}_000019" for n in range(3)]
    truth = np.array([[26001, 26001, 26001, 7, 7, 7]], dtype=np.uint16)
    found = ("xxx...", "x.....", "xxxxxx")
    index = index_errors(
        [
            ImagePredictions(n, SIZE, (detection(CAR, 0.9, p),))
            for n, p in zip(names, found, strict=True)
        ],
        lambda _: truth,
        score_threshold=0.5,
    )
    assert index.order(CAR).tolist() == [2, 1, 0]
    assert index.order(CAR, by="error_share").tolist() == [1, 2, 0]
    assert index.order(PERSON).tolist() == [0, 1, 2]
    assert [e.wrong_pixels for e in index.errors()] == [0, 2, 3]


def test_index_errors__tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    images = [ImagePredictions(f"image{n}", SIZE, ()) for n in range(3)]
    index_errors(
        images,
        lambda _: np.full(SIZE, 7, dtype=np.uint16),
        score_threshold=0.5,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_confusion__counts_pairs_and_leaves_out_void() -> None:
    rng = np.random.default_rng(0)
    truth: NDArray[np.uint8] = rng.choice([*range(9), 255], size=(40, 50)).astype(np.uint8)
    predicted: NDArray[np.uint8] = rng.integers(0, 9, size=(40, 50)).astype(np.uint8)
    expected = np.zeros((9, 9), dtype=np.int64)
    for true, found in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if true != 255:
            expected[true, found] += 1
    assert np.array_equal(confusion(predicted, truth), expected)


def test_index_errors__refuses_another_size() -> None:
    with pytest.raises(UserError, match=r"size \(2, 2\), got \(1, 6\) \(a\)"):
        index_errors(
            [ImagePredictions("a", SIZE, ())],
            lambda _: np.zeros((2, 2), dtype=np.uint16),
            score_threshold=0.5,
        )
