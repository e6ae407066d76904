"""Masks are cut to their boxes, and no pixel is lost."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.sessions.cutting import cut, cut_ignored, cut_instances


@pytest.mark.parametrize("seed", range(3))
def test_cut_instances__is_the_mask_of_every_id(seed: int) -> None:
    ids = np.random.default_rng(seed).integers(-1, 6, (13, 29)).astype(np.int32)
    found = cut_instances(ids, 7)
    for number, mask in enumerate(found, start=1):
        assert np.array_equal(mask.whole((13, 29)), ids == number)
        assert mask.area == (ids == number).sum()


def test_cut__of_nothing_is_empty() -> None:
    assert cut(np.zeros((3, 4), bool)).mask.shape == (0, 0)
    assert cut_instances(np.zeros((0, 4), np.int32), 1)[0].area == 0
    assert cut_instances(np.zeros((3, 4), np.int32), 0) == []


def test_cut__keeps_no_border() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:6] = True
    found = cut(mask)
    assert (found.left, found.top, found.mask.shape) == (2, 1, (2, 4))
    assert np.array_equal(found.whole((5, 6)), mask)


def test_cut_ignored__takes_ignored_pixels_alone() -> None:
    found = cut_ignored(np.array([[0, 1], [-1, -1]], np.int32))
    assert found.whole((2, 2)).tolist() == [[False, False], [True, True]]
