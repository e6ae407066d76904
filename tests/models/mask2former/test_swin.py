from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import SwinConfig
from transformers.models.swin.modeling_swin import SwinLayer, SwinPatchMerging

from uda4inst.models.mask2former.swin import Block, Merging
from uda4inst.models.mask2former.window_layout import cut, joined, window_layout

WIDTH, SIDE, IMAGES = 24, 4, 3
SIZES = [
    pytest.param((8, 8), id="whole windows"),
    pytest.param((9, 13), id="padded"),
    pytest.param((3, 5), id="one row of windows"),
]
SHIFTS = [pytest.param(0, id="still"), pytest.param(2, id="shifted")]


def block_of(size: tuple[int, int], shift: int, *, drop_path: float = 0.0) -> SwinLayer:
    """The library's block with a position bias that counts."""
    torch.manual_seed(0)
    config = SwinConfig(window_size=SIDE)
    config._attn_implementation = "sdpa"  # what the whole network sets
    block = SwinLayer(config, WIDTH, size, 3, drop_path_rate=drop_path, shift_size=shift)
    nn.init.normal_(block.attention.relative_position_bias.relative_position_bias_table)
    return block


def results(block: nn.Module, size: tuple[int, int], *, bf16: bool = False) -> list[Tensor]:
    """What a block returns, and the gradients of its input and weights."""
    torch.manual_seed(1)
    cells = torch.randn(IMAGES, size[0] * size[1], WIDTH, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        output = block(cells, size, always_partition=True)[0].float()
    gradients = torch.autograd.grad(output.square().sum(), [cells, *block.parameters()])
    return [output.detach(), *gradients]


def assert_close(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        size = max(float(other.abs().max()), 1.0)
        torch.testing.assert_close(one / size, other / size, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shift", SHIFTS)
def test_block__is_the_librarys_on_a_cpu_to_the_bit(shift: int) -> None:
    library = block_of((9, 13), shift, drop_path=0.5)
    own = Block(copy.deepcopy(library), remakes=True)

    found, wanted = results(own, (9, 13)), results(library, (9, 13))

    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert list(own.state_dict()) == list(library.state_dict())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-5), (True, 5e-2)], ids=["fp32", "bf16"])
@pytest.mark.usefixtures("as_on_a_device")
def test_block__is_the_librarys_on_a_device(
    size: tuple[int, int], shift: int, bf16: bool, tolerance: float
) -> None:
    library = block_of(size, shift)
    own = Block(copy.deepcopy(library), remakes=True)

    assert_close(results(own, size, bf16=bf16), results(library, size), tolerance)


@pytest.mark.usefixtures("as_on_a_device")
def test_block__drops_the_paths_that_the_library_drops() -> None:
    library = block_of((8, 8), 2, drop_path=0.5)
    own = Block(copy.deepcopy(library), remakes=True)

    assert_close(results(own, (8, 8)), results(library, (8, 8)), 1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", SHIFTS)
def test_window_layout__brings_every_cell_back(size: tuple[int, int], shift: int) -> None:
    layout = window_layout(IMAGES, size, side=SIDE, shift=shift, device=torch.device("cpu"))
    cells = torch.randn(IMAGES, size[0] * size[1], WIDTH)

    windows = cut(cells, layout)

    assert torch.equal(joined(windows, layout, IMAGES), cells)
    assert windows.flatten(0, 1)[layout.padding].eq(0).all()
    places = torch.cat([layout.slots, layout.padding]).sort().values
    assert torch.equal(places, torch.arange(layout.windows * SIDE**2))


@pytest.mark.parametrize("size", [(8, 8), (9, 13)], ids=["even", "odd"])
@pytest.mark.usefixtures("as_on_a_device")
def test_merging__is_the_librarys(size: tuple[int, int]) -> None:
    library = SwinPatchMerging(WIDTH)
    own = Merging(copy.deepcopy(library))
    cells = torch.randn(IMAGES, size[0] * size[1], WIDTH)

    assert torch.equal(own(cells, size), library(cells, size))
