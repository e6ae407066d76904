"""Run-length codes: equal to drawing the mask, and safe against what is no code."""

from __future__ import annotations

import numpy as np
import pytest

from uda4inst.formats.rle import foreground, run_lengths
from uda4inst.ops.masks import rle_encode


@pytest.mark.parametrize("seed", range(5))
def test_foreground__lists_the_pixels_of_the_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        mask = rng.random(rng.integers(1, 40, size=2)) < rng.random()
        np.testing.assert_array_equal(foreground(rle_encode(mask)), np.flatnonzero(mask.T))


def test_foreground__long_runs() -> None:
    mask = np.zeros((700, 900), dtype=bool)
    mask[:, 1:400] = True
    mask[10:600, 500:800] = True
    np.testing.assert_array_equal(foreground(rle_encode(mask)), np.flatnonzero(mask.T))


@pytest.mark.parametrize(("value", "lengths"), [(False, [15]), (True, [0, 15])])
def test_run_lengths__uniform_mask(value: bool, lengths: list[int]) -> None:
    mask = np.full((3, 5), value)
    assert run_lengths(rle_encode(mask)).tolist() == lengths


@pytest.mark.parametrize(
    "counts", ["", "abc", "~~~~~", "22222", "2", "é", " ", "2P", "oooooooooooooooo0"]
)
def test_run_lengths__rejects_what_is_no_code(counts: str) -> None:
    with pytest.raises(ValueError, match=r"must fill 2x2 pixels"):
        run_lengths({"size": [2, 2], "counts": counts})
