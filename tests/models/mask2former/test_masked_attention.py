from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerAttention,
    Mask2FormerMaskPredictor,
)

from uda4inst.models.mask2former.masked_attention import (
    CrossAttention,
    MaskPredictor,
    SelfAttention,
)

QUERIES, CELLS, IMAGES, WIDTH, HEADS = 7, 15, 2, 32, 4


def results(module: nn.Module, inputs: dict[str, Tensor], *, bf16: bool = False) -> list[Tensor]:
    """What a module returns first, and the gradients of inputs and weights."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        output = module(**inputs)[0].float()
    wanted = [part for part in inputs.values() if part.requires_grad]
    gradients = torch.autograd.grad(output.square().sum(), [*wanted, *module.parameters()])
    return [output, *gradients]


def assert_close(found: Sequence[Tensor], wanted: Sequence[Tensor], tolerance: float) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        size = max(float(other.detach().abs().max()), 1.0)  # a gradient may be 0: of the keys' bias
        torch.testing.assert_close(one / size, other / size, rtol=tolerance, atol=tolerance)


@pytest.fixture
def cross() -> tuple[nn.MultiheadAttention, dict[str, Tensor], Tensor]:
    """The library's layer, its inputs, and where not to look: one row looks at a single cell."""
    torch.manual_seed(0)
    outside = torch.rand(IMAGES, QUERIES, CELLS) < 0.5
    outside[0, 0] = torch.arange(CELLS) != 3
    outside[1, 2] = False
    inputs = {
        "query": torch.randn(QUERIES, IMAGES, WIDTH, requires_grad=True),
        "key": torch.randn(CELLS, IMAGES, WIDTH, requires_grad=True),
        "value": torch.randn(CELLS, IMAGES, WIDTH, requires_grad=True),
    }
    return nn.MultiheadAttention(WIDTH, HEADS), inputs, outside


def library_cross(cross: tuple[nn.MultiheadAttention, dict[str, Tensor], Tensor]) -> list[Tensor]:
    library, inputs, outside = cross
    whole = inputs | {"attn_mask": outside.repeat_interleave(HEADS, dim=0)}
    return results(library, whole)


def test_cross_attention__is_the_librarys_on_a_cpu_to_the_bit(cross) -> None:
    library, inputs, outside = cross

    own = results(CrossAttention(copy.deepcopy(library)), inputs | {"attn_mask": outside})

    assert all(torch.equal(a, b) for a, b in zip(own, library_cross(cross), strict=True))


@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-5), (True, 3e-2)], ids=["fp32", "bf16"])
@pytest.mark.usefixtures("as_on_a_device")
def test_cross_attention__is_the_librarys_on_a_device(cross, bf16, tolerance) -> None:
    library, inputs, outside = cross
    module = CrossAttention(copy.deepcopy(library))

    own = results(module, inputs | {"attn_mask": outside}, bf16=bf16)

    assert_close(own, library_cross(cross), tolerance)


@pytest.fixture
def queries() -> tuple[Mask2FormerAttention, dict[str, Tensor]]:
    """The library's self-attention and its inputs."""
    torch.manual_seed(0)
    inputs = {
        "hidden_states": torch.randn(QUERIES, IMAGES, WIDTH, requires_grad=True),
        "position_embeddings": torch.randn(QUERIES, IMAGES, WIDTH, requires_grad=True),
    }
    return Mask2FormerAttention(WIDTH, HEADS), inputs


def test_self_attention__is_the_librarys_on_a_cpu_to_the_bit(queries) -> None:
    library, inputs = queries

    own = results(SelfAttention(copy.deepcopy(library)), inputs)

    assert all(torch.equal(a, b) for a, b in zip(own, results(library, inputs), strict=True))


@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-5), (True, 3e-2)], ids=["fp32", "bf16"])
@pytest.mark.usefixtures("as_on_a_device")
def test_self_attention__is_the_librarys_on_a_device(queries, bf16, tolerance) -> None:
    library, inputs = queries

    own = results(SelfAttention(copy.deepcopy(library)), inputs, bf16=bf16)

    assert_close(own, results(library, inputs), tolerance)


def test_mask_predictor__is_the_librarys_with_one_mask_for_all_heads() -> None:
    torch.manual_seed(0)
    library = Mask2FormerMaskPredictor(WIDTH, HEADS, torch.tensor(WIDTH))
    outputs, pixels = torch.randn(QUERIES, IMAGES, WIDTH), torch.randn(IMAGES, WIDTH, 8, 12)

    logits, outside = MaskPredictor(library)(outputs, pixels, torch.Size((4, 6)))
    wanted_logits, wanted = library(outputs, pixels, torch.Size((4, 6)))

    assert torch.equal(logits, wanted_logits)
    assert torch.equal(outside.repeat_interleave(HEADS, dim=0), wanted)
    assert 0 < int(outside.sum()) < outside.numel()


def test_mask_predictor__rounds_as_the_library_does() -> None:
    """A logit just below 0 has probability 0.5 and lies inside."""
    library = Mask2FormerMaskPredictor(WIDTH, HEADS, torch.tensor(WIDTH))
    predictor = MaskPredictor(library)
    predictor.add_module("mask_embedder", nn.Identity())
    outputs = torch.tensor([[[1.0]], [[1e-9]]])

    _, outside = predictor(outputs, torch.full((1, 1, 2, 2), -1.0), torch.Size((2, 2)))

    assert outside.tolist() == [[[True] * 4, [False] * 4]]


def test_parameters__keep_the_librarys_names(cross, queries) -> None:
    pairs = [
        (cross[0], CrossAttention(copy.deepcopy(cross[0]))),
        (queries[0], SelfAttention(copy.deepcopy(queries[0]))),
    ]

    for library, own in pairs:
        assert list(own.state_dict()) == list(library.state_dict())
        assert [name for name, _ in own.named_parameters()] == [
            name for name, _ in library.named_parameters()
        ]
