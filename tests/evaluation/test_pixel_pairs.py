"""Pairs of values: by a loop over pixels, and exact beyond what float32 counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from uda4inst.evaluation import pixel_pairs
from uda4inst.evaluation.pixel_pairs import count_pairs


@pytest.mark.parametrize("size", [(7, 9), (1, 1), (0, 5), (64, 3)])
def test_count_pairs__equals_a_loop(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, size=(2, *size), dtype=np.uint8)
    found = count_pairs(first, second[:, ::-1])
    expected = Counter(zip(first.ravel().tolist(), second[:, ::-1].ravel().tolist(), strict=True))
    assert {(int(a), int(b)): int(found[a, b]) for a, b in np.argwhere(found)} == dict(expected)


def test_count_pairs__counts_beyond_float32_are_exact() -> None:
    ids = np.full((4100, 4100), 3, dtype=np.uint8)
    ids[0, 0] = 4
    found = count_pairs(ids, ids)
    assert (found[3, 3], found[4, 4], found.sum()) == (4100**2 - 1, 1, 4100**2)


def test_count_pairs__parts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 19, size=(2, 11, 6), dtype=np.uint8)
    whole = count_pairs(first, second)
    monkeypatch.setattr(pixel_pairs, "_EXACT", 13)
    np.testing.assert_array_equal(count_pairs(first, second), whole)
