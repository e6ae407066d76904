from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import SwinConfig
from transformers.models.swin.modeling_swin import SwinAttention, SwinMLP

from uda4inst.models.mask2former.windows import FeedForward, WindowAttention

WIDTH, HEADS, SIDE, WINDOWS, IMAGES = 24, 3, 4, 6, 2


def results(
    module: nn.Module, cells: Tensor, *more: Tensor | None, bf16: bool = False
) -> list[Tensor]:
    """What a module returns, and the gradients of its input and weights."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        output = module(cells, *more)
    output = (output[0] if isinstance(output, tuple) else output).float()
    gradients = torch.autograd.grad(output.square().sum(), [cells, *module.parameters()])
    return [output.detach(), *gradients]


@pytest.fixture
def attention() -> SwinAttention:
    """The library's module with a position bias that counts."""
    torch.manual_seed(0)
    config = SwinConfig(window_size=SIDE)
    config._attn_implementation = "sdpa"  # what the whole network sets
    module = SwinAttention(config, WIDTH, HEADS, window_size=SIDE)
    nn.init.normal_(module.relative_position_bias.relative_position_bias_table)
    return module


@pytest.fixture
def cells() -> Tensor:
    return torch.randn(IMAGES * WINDOWS, SIDE**2, WIDTH, requires_grad=True)


@pytest.fixture(params=[False, True], ids=["still", "shifted"])
def shift(request: pytest.FixtureRequest) -> Tensor | None:
    """The mask of a shifted block: another one for every window."""
    if not request.param:
        return None
    apart = torch.rand(WINDOWS, SIDE**2, SIDE**2, generator=torch.Generator().manual_seed(1)) < 0.4
    return torch.where(apart, -100.0, 0.0)


def test_attention__is_the_librarys_on_a_cpu_to_the_bit(attention, cells, shift) -> None:
    own = WindowAttention(copy.deepcopy(attention), remakes=True)

    found, wanted = results(own, cells, shift), results(attention, cells, shift)

    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("remakes", [False, True], ids=["kept", "made again"])
@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-5), (True, 5e-2)], ids=["fp32", "bf16"])
@pytest.mark.usefixtures("as_on_a_device")
def test_attention__is_the_librarys_on_a_device(
    attention, cells, shift, remakes, bf16, tolerance
) -> None:
    own = WindowAttention(copy.deepcopy(attention), remakes=remakes)

    found, wanted = results(own, cells, shift, bf16=bf16), results(attention, cells, shift)

    for one, other in zip(found, wanted, strict=True):
        size = max(float(other.abs().max()), 1.0)
        torch.testing.assert_close(one / size, other / size, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("as_on_a_device")
def test_attention__leaves_the_mask_out_where_there_is_none(attention, cells) -> None:
    """The first windows lie whole: their mask would be 0."""
    own = WindowAttention(copy.deepcopy(attention), remakes=True)
    whole, border = IMAGES * (WINDOWS - 2), torch.zeros(2, SIDE**2, SIDE**2)
    border[:, :5, 5:] = border[:, 5:, :5] = -100.0
    every = torch.cat([torch.zeros(whole, SIDE**2, SIDE**2), border, border])

    with torch.no_grad():
        found = own(cells, border, whole=whole)[0]
        wanted = attention(cells, every)[0]

    torch.testing.assert_close(found, wanted)


def kept(module: nn.Module, cells: Tensor, *more: Tensor | None) -> int:
    """Values that are alive for the backward pass and no parameter's, each memory once."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(cells, *more)
    return sum(count for memory, count in found.items() if memory not in own)


@pytest.mark.usefixtures("as_on_a_device")
def test_attention__keeps_no_mask_for_every_window(attention, cells) -> None:
    shift = torch.zeros(WINDOWS, SIDE**2, SIDE**2)
    mask = IMAGES * WINDOWS * HEADS * SIDE**4

    plain, lean = (
        kept(WindowAttention(attention, remakes=remakes), cells, shift) for remakes in (False, True)
    )

    assert plain - lean >= mask


@pytest.fixture
def perceptron() -> SwinMLP:
    torch.manual_seed(0)
    return SwinMLP(SwinConfig(), WIDTH)


def test_feed_forward__is_the_librarys_on_a_cpu_to_the_bit(perceptron, cells) -> None:
    own = FeedForward(copy.deepcopy(perceptron), remakes=True)

    found, wanted = results(own, cells), results(perceptron, cells)

    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.usefixtures("as_on_a_device")
def test_feed_forward__is_the_same_with_its_activation_made_again(perceptron, cells) -> None:
    own = FeedForward(copy.deepcopy(perceptron), remakes=True)

    found, wanted = results(own, cells), results(perceptron, cells)

    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    plain = kept(FeedForward(perceptron, remakes=False), cells)
    assert plain - kept(own, cells) >= 4 * cells.numel()
