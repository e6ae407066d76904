"""A linear layer and the ReLU behind it, in one pass over memory on a device."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uda4inst.models.mask2former.kernels import uses_kernels


class LinearReLU(nn.Linear):
    """relu(x W + b); on a device the product's kernel cuts off what is negative.

    Args:
        library: where the weights come from.
    """

    def __init__(self, library: nn.Linear) -> None:
        super().__init__(library.in_features, library.out_features, device="meta")
        self.weight = library.weight
        self.bias = library.bias

    def forward(self, input: Float[Tensor, "*cells C"]) -> Float[Tensor, "*cells D"]:
        """Return what is positive of the products, and 0 elsewhere."""
        if not uses_kernels(input):
            return F.relu(super().forward(input))
        device = input.device.type
        short = torch.is_autocast_enabled(device)
        kind = torch.get_autocast_dtype(device) if short else input.dtype
        cells, weight, bias = (t.to(kind) for t in (input.flatten(0, -2), self.weight, self.bias))
        with torch.autocast(device, enabled=False):
            return _LinearReLU.apply(cells, weight, bias).unflatten(0, input.shape[:-1])


class _LinearReLU(torch.autograd.Function):
    """Keeps its result, which is 0 where no gradient passes, and not what went into the ReLU."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        result = torch._addmm_activation(bias, cells, weight.t())
        ctx.save_for_backward(cells, weight, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cells, weight, result = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradients[0], result, 0)
        return passed @ weight, passed.t() @ cells, passed.sum(0)
