from __future__ import annotations

import copy

import pytest
import torch
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as LibraryAttention,
)

from uda4inst.models.mask2former.deformable import DeformableAttention

SHAPES = [(2, 3), (4, 6), (8, 12)]


@pytest.fixture
def library() -> LibraryAttention:
    """The library's module with weights that make every part count."""
    torch.manual_seed(0)
    module = LibraryAttention(embed_dim=16, num_heads=4, n_levels=3, n_points=4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def test_forward__equals_the_library_with_gradients(library) -> None:
    cells = sum(tall * wide for tall, wide in SHAPES)
    own = DeformableAttention(copy.deepcopy(library))
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


def test_parameters__keep_the_librarys_names(library) -> None:
    names = set(library.state_dict())

    assert set(DeformableAttention(library).state_dict()) == names
