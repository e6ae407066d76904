"""8-bit pictures as floats, alike on every device."""

from __future__ import annotations

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor


def unit_floats(pixels: UInt8[Tensor, "*shape"]) -> Float32[Tensor, "*shape"]:
    """Return 8-bit values as floats in [0, 1], to the same bits on a CPU and on a GPU.

    A GPU divides by a number by multiplying with its reciprocal, which rounds otherwise in 126 of
    256 values; by a tensor of its own it divides. Nothing waits for the device.

    Args:
        pixels: of any shape, on any device.
    """
    return pixels.float().div_(torch.full((), 255.0, device=pixels.device))
