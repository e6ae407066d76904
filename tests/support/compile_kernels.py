"""Compile the kernels of the deformable attention for a card that is not there.

    python tests/support/compile_kernels.py 90      # compute capability 9.0: H100

Shapes are those of Swin-L's pixel decoder in bf16. Triton's compiler for NVIDIA is in its package.
"""

# pyright: reportMissingImports=false
# Triton need not be there.

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any, cast

os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp(prefix="uda4inst-kernels-")

import torch
import triton
from triton.backends.compiler import GPUTarget

from uda4inst.models.mask2former import deformable_triton

kernels: Any = deformable_triton


class Card:
    """What Triton asks its driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        """Return what to compile for."""
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        """Return the only one."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return the default."""
        del device
        return 0


def main() -> None:
    """Compile both kernels and name each that did."""
    triton.runtime.driver.set_active(cast("Any", Card(int(sys.argv[1]))))
    sizes = [32, 32, 64, 64, 128, 128]
    cells = sum(tall * wide for tall, wide in zip(sizes[::2], sizes[1::2], strict=True))
    both = torch.empty(1, cells, 8 * 3 * 4 * 3, dtype=torch.bfloat16)  # offsets and weights
    values = torch.empty(1, cells, 8, 32, dtype=torch.bfloat16)
    centres = torch.empty(1, cells, 1, 2).expand(1, -1, 3, -1)
    offsets = both[:, :, : 8 * 3 * 4 * 2].view(1, cells, 8, 3, 4, 2)
    weights = torch.empty(1, cells, 8, 3, 4)
    inputs = (values, centres, offsets, weights)
    layout = kernels._layout(*inputs, sizes)
    kernels._forward.warmup(*inputs, values, grid=(1,), **layout)
    print("forward")
    to_values = torch.empty(values.shape)
    outputs = (to_values, offsets, weights)
    kernels._backward.warmup(values, *inputs, *outputs, cells=cells, grid=(1,), **layout)
    print("backward")


if __name__ == "__main__":
    main()
