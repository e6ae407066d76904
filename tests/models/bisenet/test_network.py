"""BiSeNet: its size by hand, its parts against plain formulas, its heads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import ResNetForImageClassification

from uda4inst.errors import UserError
from uda4inst.models.bisenet.network import BiSeNet
from uda4inst.models.bisenet.parts import AttentionRefinement, FeatureFusion
from uda4inst.models.bisenet.presets import BISENET_PRESETS
from uda4inst.models.pixels import cut_padding
from uda4inst.models.resnet import TINY, stages
from uda4inst.models.semantic.build import build_semantic
from uda4inst.models.semantic.loss import pixel_cross_entropy
from uda4inst.models.storage import save_network
from uda4inst.structures import SemanticMap

K = 19


def by_hand(resnet: int, third: int, fourth: int) -> int:
    """Count values: kernels, biases, and two a channel of every batch norm."""
    spatial = 9 * (3 * 64 + 64 * 128 + 128 * 256) + 2 * (64 + 128 + 256)
    refinement = sum(c * c + c + 2 * c for c in (third, fourth))
    fusion = 9 * (256 + third + fourth) * K + 2 * K + 2 * (K * K + K)
    heads = (K * K + K) + (third * K + K) + (fourth * K + K)
    return spatial + resnet + refinement + fusion + heads


# ResNets without their classifiers: 11,689,512 less 513,000 and 44,549,160 less 2,049,000
PARAMETERS = {
    "bisenet_r18": by_hand(11_176_512, 256, 512),
    "bisenet_r101": by_hand(42_500_160, 1024, 2048),
}


@pytest.fixture
def network() -> BiSeNet:
    torch.manual_seed(0)
    built, _ = build_semantic("bisenet_tiny", weights=None)
    assert isinstance(built, BiSeNet)
    return built


@pytest.mark.parametrize("name", PARAMETERS)
def test_presets__have_the_size_counted_by_hand(name: str) -> None:
    with torch.device("meta"):
        built = BISENET_PRESETS[name].build(num_classes=K, gradient_checkpointing=False)
    assert built.architecture["parameters"] == PARAMETERS[name]


def test_presets__the_tiny_one_has_about_a_million_parameters(network: BiSeNet) -> None:
    assert network.architecture["parameters"] / 1e6 == pytest.approx(1.05, abs=0.05)


def test_spatial_path__has_no_bias_and_strides_of_2(network: BiSeNet) -> None:
    layers = [m for m in network.spatial.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size, c.stride, c.padding, c.bias) for c in layers] == [
        ((3, 3), (2, 2), (1, 1), None)
    ] * 3
    kinds = [
        type(m).__name__ for m in network.spatial.modules() if not isinstance(m, nn.Sequential)
    ]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 3


def test_attention_refinement__is_its_formula() -> None:
    torch.manual_seed(1)
    part = AttentionRefinement(5).eval()
    maps = torch.randn(2, 5, 3, 4)
    layer, norm = part.factors[1], part.factors[2]
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    means = maps.mean(dim=(2, 3)) @ layer.weight[:, :, 0, 0].T + layer.get_parameter("bias")
    factors = torch.sigmoid(F.batch_norm(means, torch.zeros(5), torch.ones(5)))
    torch.testing.assert_close(part(maps), maps * factors[:, :, None, None])


def test_feature_fusion__is_its_formula() -> None:
    torch.manual_seed(2)
    part = FeatureFusion(5, 3).eval()
    first, second = torch.randn(2, 2, 4, 6), torch.randn(2, 3, 4, 6)
    fused = part.fuse(torch.cat([first, second], dim=1))
    one, two = part.factors[1], part.factors[3]
    assert isinstance(one, nn.Conv2d)
    assert isinstance(two, nn.Conv2d)
    hidden = torch.relu(
        fused.mean(dim=(2, 3)) @ one.weight[:, :, 0, 0].T + one.get_parameter("bias")
    )
    factors = torch.sigmoid(hidden @ two.weight[:, :, 0, 0].T + two.get_parameter("bias"))
    torch.testing.assert_close(part([first, second]), fused * factors[:, :, None, None] + fused)


def test_forward__gives_what_resizing_first_gives(network: BiSeNet) -> None:
    """Published code resizes to full size, then classifies; so it does with auxiliary heads."""
    images = torch.rand(2, 3, 64, 96)
    pixels = network.pixels(images)
    detail = network.spatial(pixels)
    *_, third, fourth = stages(network.context, pixels)
    tail = fourth.mean(3, keepdim=True).mean(2, keepdim=True)
    refined = [network.refine_third(third), network.refine_fourth(fourth) * tail]
    first, second = (F.interpolate(maps, size=(8, 12), mode="bilinear") for maps in refined)
    fused = F.interpolate(network.fusion([detail, first, second]), scale_factor=8, mode="bilinear")
    found = network(images)
    torch.testing.assert_close(found.at_pixels(), network.classifier(fused), rtol=1e-4, atol=1e-4)
    for head, maps, aux in zip(
        (network.aux_third, network.aux_fourth), (first, second), found.aux, strict=True
    ):
        expected = F.interpolate(head(maps), size=(64, 96), mode="bilinear")
        torch.testing.assert_close(aux.prediction.at_pixels(), expected, rtol=1e-4, atol=1e-4)
        assert aux.weight == 1.0


def test_forward__gives_logits_and_features_over_the_padded_image(network: BiSeNet) -> None:
    network.eval()
    images = torch.rand(2, 3, 50, 75)
    with torch.no_grad():
        found = network(images)
        assert found.features is not None
        assert torch.equal(cut_padding(found.features, images), network.features(images))
    assert found.logits.shape == (2, 19, 8, 12)
    assert found.at_pixels().shape == (2, 19, 50, 75)
    assert found.aux == ()  # they speak in training alone


def test_forward__says_that_one_image_is_too_few_to_train_on(network: BiSeNet) -> None:
    with pytest.raises(UserError, match=r"batch_size must be at least 2 with BiSeNet.*batch of 1"):
        network(torch.rand(1, 3, 64, 64))
    assert len(network.eval()(torch.rand(1, 3, 64, 64))) == 1


def test_forward__works_in_bf16_autocast(network: BiSeNet) -> None:
    labels = SemanticMap(torch.zeros(64, 64, dtype=torch.uint8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pixel_cross_entropy(network(torch.rand(2, 3, 64, 64)), [labels, labels])
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def all_heads(network: BiSeNet, images: torch.Tensor) -> torch.Tensor:
    found = network(images)
    heads = [found, *(aux.prediction for aux in found.aux)]
    return torch.stack([head.logits.square().mean() for head in heads]).sum()


def test_parameters__all_get_gradients_from_all_heads(network: BiSeNet) -> None:
    all_heads(network, torch.rand(2, 3, 64, 64)).backward()
    names = [name for name, _ in network.named_parameters()]
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert 0 < sum(name.startswith(network.backbone_prefix) for name in names) < len(names)


def test_forward__is_the_same_with_gradient_checkpointing(network: BiSeNet) -> None:
    other, _ = build_semantic("bisenet_tiny", weights=None, gradient_checkpointing=True)
    assert isinstance(other, BiSeNet)
    other.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 64, 64)
    for one in (network, other):
        all_heads(one, images).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(other.get_parameter(name).grad, parameter.grad)
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(other.get_buffer(name), buffer)


def test_save_network__reads_back_but_for_classes_of_another_number(tmp_path: Path) -> None:
    few, _ = build_semantic("bisenet_tiny", weights=None, num_classes=5)
    save_network(few, tmp_path / "few.safetensors")
    network, report = build_semantic("bisenet_tiny", weights=tmp_path / "few.safetensors")
    assert set(report.reinitialised) == set(network.class_head)
    kept = network.state_dict().keys() - set(network.class_head)
    assert all(torch.equal(network.state_dict()[k], few.state_dict()[k]) for k in kept)


def test_build_semantic__reads_a_classifiers_backbone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = ResNetForImageClassification(TINY.config())
    theirs.save_pretrained(tmp_path)
    network, report = build_semantic("bisenet_tiny", weights=tmp_path)
    expected = theirs.resnet.state_dict()
    own = network.state_dict()
    assert all(torch.equal(own[f"context.{name}"], value) for name, value in expected.items())
    assert report.loaded == len(expected)
