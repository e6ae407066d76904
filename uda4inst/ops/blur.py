"""Gaussian blur of a fixed size, equal to OpenCV's."""

from __future__ import annotations

from typing import Final

from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional as F

# OpenCV's 5-tap kernel when sigma is left to it. Its formula gives a sigma of 1.1 there, but for
# sizes up to 7 it takes this table instead, which has one of 1.
_KERNEL: Final = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def blur_5x5(image: Float32[Tensor, "C H W"]) -> Float32[Tensor, "C H W"]:
    """Return the image blurred as `cv2.GaussianBlur(image, (5, 5), 0)` does, without rounding.

    Borders are mirrored about the outermost pixels. Not a convolution, so that neither autocast
    nor reduced-precision products change it.

    Args:
        image: at least 3 pixels high and wide.
    """
    height, width = image.shape[1:]
    padded = F.pad(image[None], (2, 2, 2, 2), mode="reflect")[0]
    rows = padded[:, :height] * _KERNEL[0]
    for shift, share in enumerate(_KERNEL[1:], start=1):
        rows = rows + padded[:, shift : shift + height] * share
    blurred = rows[..., :width] * _KERNEL[0]
    for shift, share in enumerate(_KERNEL[1:], start=1):
        blurred = blurred + rows[..., shift : shift + width] * share
    return blurred
