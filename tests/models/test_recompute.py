from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from uda4inst.models.recompute import Recomputed, Remade


class Block(nn.Module):
    """Has one layer, draws at random, and counts how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.runs: list[bool] = []

    def forward(self, values: Tensor, *, scale: float) -> Tensor:
        self.runs.append(torch.is_grad_enabled())
        return scale * torch.relu(self.layer(values)) * torch.rand(4).round()


@pytest.fixture
def block() -> Block:
    torch.manual_seed(0)
    return Block()


def gradients(module: nn.Module, values: Tensor) -> list[Tensor]:
    torch.manual_seed(7)
    return list(
        torch.autograd.grad(module(values, scale=2.0).sum(), [values, *module.parameters()])
    )


def test_recomputed__repeats_what_was_drawn(block) -> None:
    values = torch.randn(3, 4, requires_grad=True)
    wanted = gradients(block, values)

    found = gradients(Recomputed(block), values)

    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert len(block.runs) == 1 + 2
    assert any(bool((g != 0).any()) for g in found)


def test_recomputed__runs_once_without_gradients(block) -> None:
    with torch.no_grad():
        Recomputed(block)(torch.randn(3, 4), scale=1.0)

    assert block.runs == [False]


def test_recomputed__keeps_the_names_and_switches_the_parts(block) -> None:
    own = Recomputed(block).eval()

    assert list(own.state_dict()) == ["layer.weight", "layer.bias"]
    assert not block.layer.training


def test_recomputed__a_copy_has_weights_of_its_own(block) -> None:
    own = Recomputed(block)
    other = copy.deepcopy(own)
    nn.init.zeros_(own.get_submodule("layer").get_parameter("weight"))

    found = torch.autograd.grad(
        other(torch.ones(1, 4), scale=1.0).sum(), list(other.parameters()), allow_unused=True
    )

    assert bool((other.get_submodule("layer").get_parameter("weight") != 0).all())
    assert all(g is not None for g in found)


def test_recomputed__refuses_weights_of_the_module_itself() -> None:
    with pytest.raises(AssertionError, match="would lose their names"):
        Recomputed(nn.Linear(2, 2))


def test_remade__makes_one_tensor_again_and_keeps_the_others() -> None:
    values, weight = torch.randn(5, 3, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    made: list[bool] = []

    def make() -> Tensor:
        made.append(torch.is_grad_enabled())
        return values.exp()

    wanted = torch.autograd.grad((values.exp() @ weight).sum(), [values, weight])
    large = values.exp()
    with Remade(large, make):
        result = large[1:4] @ weight  # a view of it
    rest = large[[0, 4]] @ weight
    found = torch.autograd.grad(result.sum() + rest.sum(), [values, weight])

    torch.testing.assert_close(found, wanted)
    assert made == [False]


def test_recomputed__moves_running_statistics_once() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    again = copy.deepcopy(plain)
    images = torch.randn(2, 2, 4, 4)

    wanted = torch.autograd.grad(plain(images).square().sum(), list(plain.parameters()))
    found = torch.autograd.grad(Recomputed(again)(images).square().sum(), list(again.parameters()))

    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(again.state_dict(), plain.state_dict())
    assert plain.get_submodule("1").get_buffer("num_batches_tracked") == 1
