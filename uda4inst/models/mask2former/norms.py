"""Norms that return what the next product reads.

Under autocast torch computes a norm in float32: what comes in is cast, what goes out is cast
again by the product behind it, and the same happens to the gradients, five times the bytes of the
norm itself. torch's kernel for short types does the same arithmetic, in float32 inside, without any
of these copies.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uda4inst.models.mask2former.kernels import uses_kernels


class CastNorm(nn.LayerNorm):
    """Layer norm; on a device and under autocast it reads and returns autocast's type.

    Mean, variance and the normalised value are float32 inside the kernel. Scale and shift are
    rounded to autocast's type, as the weights of every product are; the weights themselves stay
    float32. A layer norm by type, so that weight decay leaves it alone.

    Args:
        library: where the weights come from.
    """

    def __init__(self, library: nn.LayerNorm) -> None:
        super().__init__(list(library.normalized_shape), eps=library.eps)
        self.weight = library.weight
        self.bias = library.bias

    def forward(self, input: Float[Tensor, "*cells C"]) -> Float[Tensor, "*cells C"]:
        """Return the normalised cells."""
        kind = _short(input)
        if kind is None:
            return super().forward(input)
        weight, bias = self.weight.to(kind), self.bias.to(kind)
        with torch.autocast(input.device.type, enabled=False):
            return F.layer_norm(input.to(kind), self.normalized_shape, weight, bias, self.eps)


class CastGroupNorm(nn.GroupNorm):
    """The same for a group norm.

    Args:
        library: where the weights come from.
    """

    def __init__(self, library: nn.GroupNorm) -> None:
        super().__init__(library.num_groups, library.num_channels, eps=library.eps)
        assert library.weight is not None
        assert library.bias is not None
        self.weight = library.weight
        self.bias = library.bias

    def forward(self, input: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """Return the normalised maps."""
        kind = _short(input)
        if kind is None:
            return super().forward(input)
        weight, bias = self.weight.to(kind), self.bias.to(kind)
        with torch.autocast(input.device.type, enabled=False):
            return F.group_norm(input.to(kind), self.num_groups, weight, bias, self.eps)


def _short(tensor: Tensor) -> torch.dtype | None:
    """Return autocast's type on a device; None on a CPU and without autocast."""
    device = tensor.device.type
    if not (uses_kernels(tensor) and torch.is_autocast_enabled(device)):
        return None
    return torch.get_autocast_dtype(device)
