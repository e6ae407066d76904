"""Scores by resample are the protocol's own on the drawn images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from uda4inst.errors import UserError
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.evaluation.resampling import (
    RESAMPLES,
    Resampled,
    ap_by_class,
    image_resamples,
    read_resampled,
    resampled_ap,
    resampled_iou,
    resampled_path,
    write_resampled,
)
from uda4inst.evaluation.semantic import SemanticScores
from uda4inst.formats.predictions import ScoredMask

PERSON, CAR = 0, 2
SIZE = (40, 60)


def scene(rng: np.random.Generator) -> tuple[NDArray[np.int32], list[ScoredMask]]:
    """Return an image's truth and noisy detections of it; scores repeat."""
    ids = np.full(SIZE, 7, dtype=np.int32)
    found: list[ScoredMask] = []
    for number in range(rng.integers(0, 4)):
        top, left = rng.integers(0, 24), 15 * number
        label, value = [(PERSON, 24), (CAR, 26)][rng.integers(2)]
        ids[top : top + 14, left : left + 12] = value * 1000 + number
        for _ in range(rng.integers(0, 3)):
            mask = np.zeros(SIZE, dtype=bool)
            shift = rng.integers(0, 5)
            mask[top + shift : top + shift + 14, left : left + 12] = True
            found.append(ScoredMask(label, float(rng.integers(1, 9)) / 8, mask))
    lonely = np.zeros(SIZE, dtype=bool)
    lonely[30:, 50:] = True
    found.append(ScoredMask(PERSON, float(rng.integers(1, 9)) / 8, lonely))
    return ids, found


def test_ap_by_class__is_the_official_ap_of_the_drawn_images() -> None:
    rng = np.random.default_rng(5)
    scenes = [scene(rng) for _ in range(12)]
    whole = CityscapesAP()
    for ids, found in scenes:
        whole.add(ids, found)
    counts = image_resamples(12, resamples=6)
    counts[:, 0] = 1
    by_resample = ap_by_class(whole.judged(), counts)
    for resample in range(6):
        drawn = CityscapesAP()
        for index, (ids, found) in enumerate(scenes):
            for _ in range(int(counts[index, resample])):
                drawn.add(ids, found)
        matrix = drawn.matrix()
        expected = np.stack([matrix.mean(axis=1), matrix[:, 0]], axis=1)
        np.testing.assert_allclose(by_resample[resample], expected, atol=1e-6)
    assert np.isnan(by_resample[:, 1]).all()  # nobody rides
    assert np.ptp(by_resample[:, PERSON, 0]) > 0.01  # resamples differ


def test_judged__of_merged_parts_knows_every_image() -> None:
    rng = np.random.default_rng(6)
    scenes = [scene(rng) for _ in range(7)]
    whole, first, second = CityscapesAP(), CityscapesAP(), CityscapesAP()
    for index, (ids, found) in enumerate(scenes):
        whole.add(ids, found)
        (first if index < 3 else second).add(ids, found)
    first.merge(second)
    counts = image_resamples(7, resamples=20)
    np.testing.assert_array_equal(
        ap_by_class(first.judged(), counts), ap_by_class(whole.judged(), counts)
    )


def test_resampled_ap__without_any_object_is_nowhere() -> None:
    empty = CityscapesAP()
    empty.add(np.full(SIZE, 7), [])
    found = resampled_ap(empty.judged(), ["a"])
    assert found.overall.shape == (RESAMPLES, 2)
    assert np.isnan(found.overall).all()


def test_resampled_iou__is_the_score_of_the_drawn_images() -> None:
    rng = np.random.default_rng(7)
    maps = [rng.integers(0, 5, (2, 8, 8)).astype(np.uint8) for _ in range(6)]
    pixels = np.stack([SemanticScores().add(truth, said) for truth, said in maps])
    found = resampled_iou(pixels, [str(i) for i in range(6)])
    resamples = image_resamples(6)
    for resample in (0, 17):
        scores = SemanticScores()
        for index, (truth, said) in enumerate(maps):
            for _ in range(int(resamples[index, resample])):
                scores.add(truth, said)
        assert found.overall[resample] == pytest.approx((scores.miou(), scores.accuracy()))
        iou = [np.nan if v is None else v for v in scores.iou().values()]
        np.testing.assert_allclose(found.by_class[resample, :, 0], iou, atol=1e-6)


def test_image_resamples__follow_from_the_number_of_images() -> None:
    resamples = image_resamples(30)
    assert resamples.shape == (30, RESAMPLES)
    assert (resamples.sum(axis=0) == 30).all()
    np.testing.assert_array_equal(resamples, image_resamples(30))


def test_resampled__is_written_and_read_back(tmp_path: Path) -> None:
    values = Resampled(np.ones((3, 2), np.float32), np.zeros((3, 8, 2), np.float32), ("a", "b"))
    path = resampled_path(tmp_path / "student.jsonl.gz")
    assert path.name == "student_resampled.npz"
    write_resampled(path, values)
    first = path.read_bytes()
    write_resampled(path, values)
    assert path.read_bytes() == first
    found = read_resampled(path)
    assert found.images == ("a", "b")
    np.testing.assert_array_equal(found.overall, values.overall)
    path.write_bytes(first[:100])
    with pytest.raises(UserError, match=r"scores by resample must be a readable \.npz"):
        read_resampled(path)
