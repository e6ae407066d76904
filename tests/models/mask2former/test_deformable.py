from __future__ import annotations

import copy
import sys
from typing import Any, cast, get_args

import pytest
import torch
from torch import Tensor
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as LibraryAttention,
)

from uda4inst.errors import UserError
from uda4inst.models.mask2former.deformable import DeformableAttention
from uda4inst.models.mask2former.kernels import DeformableKernel

SHAPES = [(2, 3), (4, 6), (8, 12)]
INPUTS = ("hidden_states", "encoder_hidden_states", "position_embeddings")
TRITON = "uda4inst.models.mask2former.deformable_triton"


@pytest.fixture
def library() -> LibraryAttention:
    """The library's module with weights that make every part count."""
    torch.manual_seed(0)
    module = LibraryAttention(embed_dim=16, num_heads=4, n_levels=3, n_points=4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


@pytest.fixture(params=["as on CPU", "as on GPU"])
def path(request: pytest.FixtureRequest) -> None:
    """Both paths through the module."""
    if request.param == "as on GPU":
        request.getfixturevalue("as_on_a_device")


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("remakes", [False, True], ids=["kept", "made again"])
def test_forward__equals_the_library_with_gradients(library, remakes) -> None:
    cells = sum(tall * wide for tall, wide in SHAPES)
    own = DeformableAttention(copy.deepcopy(library), remakes=remakes)
    inputs = {
        "hidden_states": torch.randn(2, cells, 16, requires_grad=True),
        "encoder_hidden_states": torch.randn(2, cells, 16, requires_grad=True),
        "position_embeddings": torch.randn(2, cells, 16, requires_grad=True),
        "reference_points": torch.rand(2, cells, 3, 2),
    }
    mask = torch.zeros(2, cells, dtype=torch.bool)

    results = [
        module(**inputs, spatial_shapes_list=SHAPES, attention_mask=mask)[0]
        for module in (own, library)
    ]

    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    wanted = [each for each in inputs.values() if each.requires_grad]
    gradients = [
        torch.autograd.grad(result.square().sum(), [*wanted, *module.parameters()])
        for result, module in zip(results, (own, library), strict=True)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("as_on_a_device")
def test_forward__keeps_no_samples(library) -> None:
    cells = sum(tall * wide for tall, wide in SHAPES)
    inputs = {
        "hidden_states": torch.randn(1, cells, 16, requires_grad=True),
        "encoder_hidden_states": torch.randn(1, cells, 16),
        "position_embeddings": torch.randn(1, cells, 16),
        "reference_points": torch.rand(1, cells, 3, 2),
    }
    samples = 3 * 4 * cells * 16  # levels, points, cells, channels
    kept: list[dict[int, int]] = []
    for remakes in (False, True):
        found: dict[int, int] = {}

        def pack(tensor: Tensor, found: dict[int, int] = found) -> Tensor:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
            return tensor

        module = DeformableAttention(copy.deepcopy(library), remakes=remakes)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            module(**inputs, spatial_shapes_list=SHAPES)
        kept.append(found)

    plain, lean = (sum(each.values()) for each in kept)
    assert plain - lean > samples / 2  # what they were taken with is kept instead


@pytest.mark.usefixtures("as_on_a_device")
def test_forward__places_its_samples_in_fp32_under_bf16(library) -> None:
    """A ramp tells where it was sampled; in 128 cells bf16 misses by up to a quarter of one."""
    torch.nn.init.zeros_(library.sampling_offsets.weight)
    torch.nn.init.zeros_(library.sampling_offsets.bias)
    for layer in (library.value_proj, library.output_proj):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    wide = 128
    ramp = (torch.arange(wide) % 8).float()  # exact in bf16
    centre = torch.full((1, 3 * wide, 3, 2), 0.5)
    centre[..., 0] = ((torch.arange(wide) + 0.8) / wide).repeat(3)[:, None]
    nothing = torch.zeros(1, 3 * wide, 16)
    module = DeformableAttention(library)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(
            nothing,
            encoder_hidden_states=ramp.repeat(3)[None, :, None].expand(1, -1, 16),
            position_embeddings=nothing,
            reference_points=centre,
            spatial_shapes_list=[(1, wide)] * 3,
        )[0]

    inside = torch.arange(wide) % 8 < 7  # the ramp starts anew every 8 cells
    wanted = ramp + 0.3
    torch.testing.assert_close(
        found[0, :wide, 0][inside].float(), wanted[inside], rtol=0.0, atol=0.04
    )


@pytest.mark.usefixtures("as_on_a_device")
def test_forward__says_that_triton_is_not_installed(library, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, TRITON, raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    cells = sum(tall * wide for tall, wide in SHAPES)
    inputs = {name: torch.zeros(1, cells, 16) for name in INPUTS}
    module = DeformableAttention(library, kernel="triton")

    with pytest.raises(UserError, match=r"model\.deformable_kernel must be torch where .*not inst"):
        module(**inputs, reference_points=torch.rand(1, cells, 3, 2), spatial_shapes_list=SHAPES)


def test_forward__on_a_cpu_is_the_librarys_whatever_the_kernel(library) -> None:
    cells = sum(tall * wide for tall, wide in SHAPES)
    inputs = {name: torch.randn(1, cells, 16) for name in INPUTS}
    inputs["reference_points"] = torch.rand(1, cells, 3, 2)

    results = [
        DeformableAttention(library, kernel=kernel)(**inputs, spatial_shapes_list=SHAPES)[0]
        for kernel in get_args(DeformableKernel)
    ]

    assert torch.equal(*results)


def test_init__names_the_kernels_there_are(library) -> None:
    with pytest.raises(ValueError, match="kernel must be torch or triton, got 'cuda'"):
        DeformableAttention(library, kernel=cast("Any", "cuda"))


def test_parameters__keep_the_librarys_names(library) -> None:
    names = set(library.state_dict())

    assert set(DeformableAttention(library).state_dict()) == names
