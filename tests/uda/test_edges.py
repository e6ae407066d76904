"""Rims of masks: OpenCV's dilation less its erosion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from uda4inst.uda.edges import boundary_band


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_boundary_band__is_dilated_less_eroded(share: float) -> None:
    generator = np.random.default_rng(0)
    masks = generator.random((3, 2, 9, 13)) < share
    found = boundary_band(torch.from_numpy(masks))
    window = np.ones((2, 2), dtype=np.uint8)
    for place in np.ndindex(3, 2):
        mask = masks[place].astype(np.uint8)
        expected = cv2.dilate(mask, window) - cv2.erode(mask, window)
        np.testing.assert_array_equal(found[place].numpy(), expected.astype(bool))


def test_boundary_band__follows_a_drawn_square() -> None:
    rows = ["......", ".XXX..", ".XXX..", ".XXX..", "......"]
    band = ["......", ".XXXX.", ".X..X.", ".X..X.", ".XXXX."]
    mask, expected = (torch.tensor([[c == "X" for c in row] for row in r]) for r in (rows, band))
    assert torch.equal(boundary_band(mask), expected)
