from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from uda4inst.ops.blur import blur_5x5


@pytest.mark.parametrize("size", [(3, 3), (8, 13)])
def test_blur_5x5__equals_opencv(size: tuple[int, int]) -> None:
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    expected = cv2.GaussianBlur(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), (5, 5), 0)
    torch.testing.assert_close(blur_5x5(image), torch.from_numpy(expected).permute(2, 0, 1))


def test_blur_5x5__keeps_flat_colour_and_its_input() -> None:
    image = torch.full((3, 4, 5), 0.25)
    assert torch.equal(blur_5x5(image), image)
    assert (image == 0.25).all()


def test_blur_5x5__is_not_lowered_by_autocast() -> None:
    image = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        blurred = blur_5x5(image)
    assert torch.equal(blurred, blur_5x5(image))
