"""Where the network takes a device's fused kernels, and where the library's own arithmetic.

On a CPU every module keeps the library's order of operations, so that results there stay the same
to the bit. Anywhere else they take what is the same function in exact arithmetic and costs less.
"""

from __future__ import annotations

from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

# What samples the deformable attention off the CPU: torch's operations, or our kernel in Triton.
DeformableKernel = Literal["torch", "triton"]

# Types of device with the library's arithmetic. Tests empty it, which sends a CPU the other way.
REFERENCE_ON = frozenset({"cpu"})

# cuDNN's kernel is left out, which torch >= 2.11 prefers on an H100: with a mask its backward pass
# gives NaN where a row of scores is very small and its length is 64 more than a multiple of 128
# (pytorch issue 196678), and it has no gradient for a mask.
_KERNELS: Final = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def uses_kernels(tensor: Tensor) -> bool:
    """Return whether computations on this tensor leave the library's arithmetic."""
    return tensor.device.type not in REFERENCE_ON


def attend(
    query: Float[Tensor, "B H Q D"],
    key: Float[Tensor, "B H S D"],
    value: Float[Tensor, "B H S D"],
    *,
    bias: Float[Tensor, "#B #H Q S"] | None = None,
) -> Float[Tensor, "B H Q D"]:
    """Return softmax(q k / sqrt(D) + bias) v; the weights are never written to memory.

    Which kernel that is on an H100 (by torch's dispatch, not measured): in bf16 without a bias
    flash attention; with a bias, and in fp32 always, the memory-efficient one, which takes heads of
    32 and broadcasts a bias over images or heads without a copy. Where S is no multiple of 16 torch
    pads the bias first, a copy of the bias alone.

    Args:
        query: what asks.
        key: what it is compared with.
        value: what is averaged.
        bias: added to the scores, of the query's type; minus infinity shuts out.
    """
    with sdpa_kernel(_KERNELS):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
