"""Inputs of the deformable attention's sampling, and its result by torch's own operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uda4inst.models.mask2former.deformable import _sampled
from uda4inst.structures import Size


@dataclass(frozen=True, slots=True)
class Case:
    """What is sampled, as `deformable_triton.sample` takes it."""

    values: Tensor
    centres: Tensor
    offsets: Tensor
    weights: Tensor
    sizes: tuple[Size, ...]

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[Size, ...]]:
        """Return the arguments."""
        return self.values, self.centres, self.offsets, self.weights, self.sizes

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Case:
        """Return it on a device; values and offsets of a type, centres and weights float32."""
        return replace(
            self,
            values=self.values.detach().to(device, dtype).requires_grad_(),
            centres=self.centres.to(device),
            offsets=self.offsets.detach().to(device, dtype).requires_grad_(),
            weights=self.weights.detach().to(device).requires_grad_(),
        )

    def gradients(self, result: Tensor, of_result: Tensor) -> dict[str, Tensor]:
        """Return the gradients of what has some, by name."""
        inputs = {"values": self.values, "offsets": self.offsets, "weights": self.weights}
        found = torch.autograd.grad(result, tuple(inputs.values()), of_result)
        return dict(zip(inputs, found, strict=True))


def make_case(
    sizes: Sequence[Size],
    *,
    images: int = 1,
    heads: int = 2,
    channels: int = 8,
    points: int = 2,
    queries: int = 7,
    reach: float = 2.0,
    seed: int = 0,
) -> Case:
    """Return random inputs; offsets have a standard deviation of `reach` cells."""
    random = torch.Generator().manual_seed(seed)
    grouped = (images, queries, heads, len(sizes), points)
    cells = sum(tall * wide for tall, wide in sizes)
    return Case(
        torch.randn(images, cells, heads, channels, generator=random),
        torch.rand(1, queries, len(sizes), 2, generator=random),
        reach * torch.randn(*grouped, 2, generator=random),
        torch.rand(grouped, generator=random),
        tuple(sizes),
    ).to("cpu")


def by_torch(case: Case) -> Tensor:
    """Return what the network computes where it samples by torch's operations, in float32."""
    images, cells, heads, channels = case.values.shape
    values = case.values.float().permute(0, 2, 3, 1).reshape(images * heads, channels, cells)
    offsets = case.offsets.float().permute(0, 2, 3, 4, 1, 5)
    weights = case.weights.permute(0, 2, 3, 4, 1)
    centres = (2.0 * case.centres - 1.0).permute(0, 2, 3, 1)[:, :, :, None, None]
    planes = values.split([tall * wide for tall, wide in case.sizes], dim=2)
    total = sum(
        _sampled(plane, offsets[:, :, level], weights[:, :, level], centres[:, level], size)
        for level, (plane, size) in enumerate(zip(planes, case.sizes, strict=True))
    )
    assert isinstance(total, Tensor)
    return total.view(images, heads * channels, -1).mT


def compare(sample: Callable[..., Tensor], case: Case, *, rtol: float, atol: float) -> None:
    """Hold result and gradients of a kernel to torch's on the same values in float32."""
    exact = case.to(case.values.device)
    found, wanted = sample(*case.inputs), by_torch(exact)
    torch.testing.assert_close(found.float(), wanted, rtol=rtol, atol=atol)
    of_result = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    of_result = of_result.to(found)
    gradients = case.gradients(found, of_result)
    for name, gradient in exact.gradients(wanted, of_result.float()).items():
        assert gradients[name].dtype == getattr(case, name).dtype
        torch.testing.assert_close(gradients[name].float(), gradient, rtol=rtol, atol=atol)
