"""The library's SegFormer behind our structures."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uda4inst.errors import UserError
from uda4inst.models.pixels import IMAGENET_MEAN, IMAGENET_STD, cut_padding
from uda4inst.models.segformer.network import SegFormer
from uda4inst.models.segformer.presets import SEGFORMER_PRESETS
from uda4inst.models.semantic.build import build_semantic
from uda4inst.models.semantic.loss import pixel_cross_entropy
from uda4inst.structures import SemanticMap

# published sizes, M parameters: Table 1 of the paper (19 to 150 classes change the second digit)
MILLIONS = {
    "mit_tiny": 1.0,
    "mit_b0": 3.7,
    "mit_b1": 13.7,
    "mit_b2": 27.4,
    "mit_b3": 47.3,
    "mit_b4": 64.0,
    "mit_b5": 84.6,
}


@pytest.fixture
def network() -> SegFormer:
    torch.manual_seed(0)
    built, _ = build_semantic("mit_tiny", weights=None)
    assert isinstance(built, SegFormer)
    return built


def gradient_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    network.zero_grad()
    network(images).logits.square().mean().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", SEGFORMER_PRESETS)
def test_presets__have_the_published_size(name: str) -> None:
    with torch.device("meta"):
        network = SEGFORMER_PRESETS[name].build(num_classes=19, gradient_checkpointing=False)
    assert network.architecture["parameters"] / 1e6 == pytest.approx(MILLIONS[name], rel=0.01)
    assert (network.architecture["preset"], network.architecture["num_classes"]) == (name, 19)


def test_forward__gives_logits_over_the_padded_image(network: SegFormer) -> None:
    prediction = network(torch.rand(2, 3, 50, 75))
    assert prediction.logits.shape == (2, 19, 16, 24)
    assert prediction.size == (50, 75)
    assert len(prediction.select(slice(1, 2))) == 1
    assert torch.equal(prediction.select(slice(1, 2)).logits, prediction.logits[1:2])
    full = F.interpolate(prediction.logits, scale_factor=4, mode="bilinear", align_corners=False)
    assert torch.equal(prediction.at_pixels(), full[..., :50, :75])


def test_forward__equals_the_library_on_normalised_padded_pixels(network: SegFormer) -> None:
    images = torch.rand(1, 3, 60, 64)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    network.eval()
    with torch.no_grad():
        expected = network.network(pixel_values=F.pad((images - mean) / std, (0, 0, 0, 4))).logits
        torch.testing.assert_close(network(images).logits, expected)


def test_forward__gives_the_features_of_the_same_forward(network: SegFormer) -> None:
    images = torch.rand(2, 3, 40, 65)
    network.eval()
    with torch.no_grad():
        found = network(images)
        assert found.features is not None
        assert torch.equal(cut_padding(found.features, images), network.features(images))
    assert found.aux == ()


def test_forward__works_in_bf16_autocast(network: SegFormer) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = network(torch.rand(1, 3, 64, 64))
        loss = pixel_cross_entropy(
            prediction, [SemanticMap(torch.zeros(64, 64, dtype=torch.uint8))]
        )
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_parameters__all_get_gradients_and_backbone_and_head_are_found(network: SegFormer) -> None:
    network(torch.rand(1, 3, 64, 64)).logits.square().mean().backward()
    names = [name for name, _ in network.named_parameters()]
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert 0 < sum(name.startswith(network.backbone_prefix) for name in names) < len(names)
    assert set(network.class_head) <= set(names)


def test_forward__is_the_same_with_gradient_checkpointing(network: SegFormer) -> None:
    other, _ = build_semantic("mit_tiny", weights=None, gradient_checkpointing=True)
    other.load_state_dict(network.state_dict())
    images = torch.rand(1, 3, 64, 64)
    expected = gradient_of(network, images)
    torch.testing.assert_close(gradient_of(other, images), expected, rtol=1e-4, atol=1e-6)


def test_build_semantic__names_the_presets_it_knows() -> None:
    with pytest.raises(UserError, match=r"one of mit_tiny, mit_b0.*got 'mit_b9'.*Did you mean"):
        build_semantic("mit_b9", weights=None)
