"""Precision and recall of pixels' pseudo-labels, against counting pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from uda4inst.evaluation.pixel_verdicts import Verdicts, judge_by_confidence, judge_kept

CLASSES = 19
IGNORED = 255


def counted(said: np.ndarray, truth: np.ndarray, kept: np.ndarray) -> list[list[int]]:
    """Return said, right and there, one pixel after the other."""
    rows = [[0] * CLASSES for _ in range(3)]
    for name, known, is_kept in zip(said.flat, truth.flat, kept.flat, strict=True):
        if known == IGNORED:
            continue
        rows[2][known] += 1
        if is_kept:
            rows[0][name] += 1
            rows[1][name] += int(name == known)
    return rows


def as_rows(found: Verdicts) -> list[list[int]]:
    return [found.said.tolist(), found.right.tolist(), found.there.tolist()]


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the likeliest classes, their confidence and the truth of an image, by chance."""
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 5, (17, 23), dtype=np.uint8)
    best = np.where(draw.random(truth.shape) < 0.6, truth, draw.integers(0, CLASSES, truth.shape))
    truth[draw.random(truth.shape) < 0.2] = IGNORED
    confidence = draw.integers(0, 256, truth.shape, dtype=np.uint8)
    return best.astype(np.uint8), confidence, truth


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5, 0.9, 127 / 255, 1.0])
def test_judge_by_confidence__counts_pixel_by_pixel(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float
) -> None:
    best, confidence, truth = drawn
    expected = counted(best, truth, confidence >= threshold * 255)
    assert as_rows(judge_by_confidence(best, confidence, truth).at(threshold)) == expected
    assert as_rows(judge_kept(best, truth, confidence >= threshold * 255)) == expected


def test_judge_kept__dropped_pixels_may_say_anything() -> None:
    truth = np.array([[0, 1, 1, 255]], dtype=np.uint8)
    said = np.array([[0, 0, 255, 3]], dtype=np.uint8)
    found = judge_kept(said, truth, said != IGNORED)
    assert (found.said[0], found.right[0], found.said[3]) == (2, 1, 0)
    assert found.precision()[0] == 0.5
    assert found.recall()[:2].tolist() == [1.0, 0.0]
    assert (found.precision_of_all, found.recall_of_all) == (0.5, 1 / 3)


def test_verdicts__where_nothing_is_kept_there_is_no_precision() -> None:
    truth = np.zeros((2, 2), dtype=np.uint8)
    found = judge_by_confidence(truth, np.full_like(truth, 250), truth).at(0.99)
    assert math.isnan(found.precision_of_all)
    assert found.recall_of_all == 0
    assert np.isnan(found.precision()).all()
    assert np.isnan(found.recall()[1:]).all()
