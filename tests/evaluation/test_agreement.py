"""Agreement of two sets of detections: hand-computed on drawn masks."""

from __future__ import annotations

import numpy as np
import pytest

from uda4inst.classes import thing_index
from uda4inst.evaluation.agreement import Agreement, ClassAgreement, agreements
from uda4inst.formats.predictions import ScoredMask
from uda4inst.formats.rle import overlaps, rle_encode

PERSON, CAR = thing_index("person"), thing_index("car")


def drawn(rows: str, *, label: int = CAR, score: float = 0.9) -> ScoredMask:
    """Return a detection whose mask is drawn: rows apart by spaces, A where it is."""
    mask = np.array([[pixel == "A" for pixel in row] for row in rows.split()])
    return ScoredMask(label, score, rle_encode(mask))


def compared(
    first: list[list[ScoredMask]], second: list[list[ScoredMask]], threshold: float = 0.5
) -> ClassAgreement:
    return agreements(first, second, [threshold])[threshold]


WHOLE = "AAAA ...."
THREE = "AAA. ...."
HALF = "AA.. ...."
ONE = "A... ...."
BELOW = ".... AAAA"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param([WHOLE], [WHOLE], Agreement(1, 1, 2), id="the same"),
        pytest.param([WHOLE], [THREE], Agreement(0.75, 1, 2), id="three of four pixels"),
        pytest.param([WHOLE], [HALF], Agreement(0.5, 1, 2), id="just half is a pair"),
        pytest.param([WHOLE], [ONE], Agreement(0, 0, 2), id="less than half is none"),
        pytest.param([WHOLE], [BELOW], Agreement(0, 0, 2), id="elsewhere"),
        pytest.param([WHOLE], [], Agreement(0, 0, 1), id="one side alone"),
        pytest.param([WHOLE, BELOW], [THREE], Agreement(0.75, 1, 3), id="one left over"),
        pytest.param([WHOLE], [WHOLE, THREE], Agreement(1, 1, 3), id="two want one: the better"),
        # IoU: WHOLE-THREE 3/4, WHOLE-HALF 1/2, THREE-HALF 2/3, THREE-THREE 1. Taking 1 first
        # leaves 1/2 (sum 3/2), the other way round is 3/4 + 2/3 (17/12): the sum decides.
        pytest.param([WHOLE, THREE], [THREE, HALF], Agreement(1.5, 2, 4), id="crosswise"),
    ],
)
def test_agreements__of_one_image(first: list[str], second: list[str], expected: Agreement) -> None:
    sides = [[drawn(rows) for rows in side] for side in (first, second)]
    for one, other in (sides, sides[::-1]):
        found = compared([one], [other]).pooled
        assert (found.pairs, found.found) == (expected.pairs, expected.found)
        assert found.iou == pytest.approx(expected.iou)


def test_agreement__quality_and_f1_by_hand() -> None:
    # Two pairs of IoU .75 and 1, one detection left over on one side, two on the other.
    found = Agreement(iou=1.75, pairs=2, found=7)
    assert found.quality == pytest.approx(1.75 / (2 + 3 / 2))
    assert found.f1 == pytest.approx(2 / (2 + 3 / 2))


def test_agreements__pairs_are_not_made_greedily_by_score() -> None:
    # By score THREE would go first and take WHOLE (3/4), which leaves WHOLE-HALF (1/2).
    first = [drawn(THREE, score=0.99), drawn(WHOLE, score=0.6)]
    second = [drawn(WHOLE), drawn(HALF)]
    found = compared([first], [second]).pooled
    assert found.pairs == 2
    assert found.iou == pytest.approx(2 / 3 + 1)


def test_agreements__silence_is_undefined() -> None:
    nothing = compared([[], []], [[], []])
    assert (nothing.quality, nothing.f1, nothing.pooled.quality) == (None, None, None)
    assert nothing.by_class == {}
    assert nothing.to_json() == {
        "quality": None,
        "f1": None,
        "pooled": {"quality": None, "f1": None},
        "per_class": {},
    }


def test_agreements__scores_must_exceed_the_threshold_on_both_sides() -> None:
    first, second = [[drawn(WHOLE, score=0.7)]], [[drawn(WHOLE, score=0.8)]]
    found = agreements(first, second, [0.6, 0.7, 0.8])
    assert [found[t].pooled for t in (0.6, 0.7, 0.8)] == [
        Agreement(1, 1, 2),
        Agreement(0, 0, 1),
        Agreement(0, 0, 0),
    ]
    assert found[0.8].quality is None


def test_agreements__classes_never_pair() -> None:
    found = compared([[drawn(WHOLE, label=PERSON)]], [[drawn(WHOLE, label=CAR)]])
    assert found.by_class == {PERSON: Agreement(0, 0, 1), CAR: Agreement(0, 0, 1)}
    assert (found.quality, found.f1) == (0, 0)


def test_agreements__images_are_apart_and_classes_are_averaged() -> None:
    first = [[drawn(WHOLE), drawn(BELOW, label=PERSON)], [drawn(WHOLE)]]
    second = [[drawn(THREE), drawn(BELOW, label=PERSON)], [drawn(BELOW)]]
    found = compared(first, second)
    assert found.by_class[PERSON] == Agreement(1, 1, 2)
    assert found.by_class[CAR].iou == pytest.approx(0.75)
    assert (found.by_class[CAR].pairs, found.by_class[CAR].found) == (1, 4)
    # Cars: .75 / (1 + 2/2), 1 / (1 + 2/2); people: 1.
    assert found.quality == pytest.approx((1 + 0.375) / 2)
    assert found.f1 == pytest.approx((1 + 0.5) / 2)
    # All alike: two pairs, two left over.
    assert found.pooled.quality == pytest.approx(1.75 / 3)
    assert found.to_json()["per_class"]["car"]["quality"] == pytest.approx(0.375)


def test_class_agreement__sum_of_modules_is_that_of_their_detections() -> None:
    cars, people = [[drawn(WHOLE)]], [[drawn(BELOW, label=PERSON)]]
    apart = compared(cars, [[drawn(THREE)]]) + compared(people, [[]])
    assert apart == compared([cars[0] + people[0]], [[drawn(THREE)]])


def test_agreements__classes_outside_the_eight_have_no_part() -> None:
    assert compared([[drawn(WHOLE, label=-1)]], [[]]).by_class == {}


def test_overlaps__against_pixels() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((5, 7)) < share for share in (0, 0.2, 0.5, 0.8, 1)]
    codes = [rle_encode(mask) for mask in masks]
    expected = [[(a & b).sum() / max(1, (a | b).sum()) for b in masks] for a in masks]
    np.testing.assert_allclose(overlaps(codes, codes), expected)
    assert overlaps(codes, []).shape == (5, 0)
    assert overlaps([], codes).shape == (0, 5)
