from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uda4inst.models.mask2former.perceptron import LinearReLU

WIDTH = 8


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.usefixtures("as_on_a_device")
def test_linear_relu__is_the_two_layers(bf16: bool) -> None:
    torch.manual_seed(0)
    library = torch.nn.Linear(WIDTH, 16)
    own, cells = LinearReLU(library), torch.randn(2, 5, WIDTH, requires_grad=True)

    results: list[list[Tensor]] = []
    for function in (own, lambda x: library(x).relu()):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            output = function(cells)
        parameters = [cells, library.weight, library.bias]
        results.append([output, *torch.autograd.grad(output.float().square().sum(), parameters)])

    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02 if bf16 else 1e-5, atol=1e-2)
