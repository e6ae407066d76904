from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from uda4inst.models.mask2former.norms import CastNorm

WIDTH = 24


@pytest.fixture
def library() -> nn.LayerNorm:
    torch.manual_seed(0)
    norm = nn.LayerNorm(WIDTH)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.fixture
def cells() -> Tensor:
    return torch.randn(6, WIDTH, requires_grad=True)


def test_norm__is_the_librarys_on_a_cpu(library, cells) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, wanted = CastNorm(library)(cells), library(cells)

    assert found.dtype == wanted.dtype
    assert torch.equal(found, wanted)


@pytest.mark.usefixtures("as_on_a_device")
def test_norm__stays_in_fp32_without_autocast(library, cells) -> None:
    assert torch.equal(CastNorm(library)(cells), library(cells))


@pytest.mark.usefixtures("as_on_a_device")
def test_norm__under_autocast_rounds_what_goes_in_and_out_alone(library, cells) -> None:
    short = cells.detach().bfloat16().requires_grad_()
    exact = copy.deepcopy(library)
    for parameter in exact.parameters():
        parameter.data = parameter.data.bfloat16().float()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = CastNorm(library)(short)
    wanted = exact(short.float())

    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted.bfloat16(), rtol=2**-7, atol=1e-6)
    found.float().square().sum().backward()
    (gradient,) = torch.autograd.grad(wanted.square().sum(), short)
    assert short.grad is not None
    torch.testing.assert_close(short.grad, gradient, rtol=0.05, atol=0.05)
