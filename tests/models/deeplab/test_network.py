"""DeepLabV2: its size, its stride, its two heads, and weights of a ResNet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import ResNetForImageClassification

from uda4inst.errors import UserError
from uda4inst.models.deeplab.network import DeepLab
from uda4inst.models.deeplab.presets import ALL_RATES, DEEPLAB_PRESETS
from uda4inst.models.pixels import IMAGENET_MEAN, IMAGENET_STD, cut_padding
from uda4inst.models.resnet import R18, TINY, stages
from uda4inst.models.semantic.build import build_semantic
from uda4inst.models.semantic.loss import pixel_cross_entropy
from uda4inst.structures import SemanticMap

# A ResNet-50 without its classifier has 23,508,032 values, a ResNet-101 42,500,160; of two rates a
# head, with a 3x3 kernel for 19 classes and a bias, on 2048 and on 1024 channels.
HEADS = sum(2 * (9 * channels * 19 + 19) for channels in (2048, 1024))
PARAMETERS = {"deeplab_r50": 23_508_032 + HEADS, "deeplab_r101": 42_500_160 + HEADS}


@pytest.fixture
def network() -> DeepLab:
    torch.manual_seed(0)
    built, _ = build_semantic("deeplab_tiny", weights=None)
    assert isinstance(built, DeepLab)
    return built


def on_meta(name: str) -> DeepLab:
    with torch.device("meta"):
        return DEEPLAB_PRESETS[name].build(num_classes=19, gradient_checkpointing=False)


@pytest.mark.parametrize("name", PARAMETERS)
def test_presets__have_the_size_of_backbone_and_heads(name: str) -> None:
    assert on_meta(name).architecture["parameters"] == PARAMETERS[name]


def test_presets__the_tiny_one_has_about_a_million_parameters(network: DeepLab) -> None:
    assert network.architecture["parameters"] / 1e6 == pytest.approx(1.0, abs=0.05)


def test_presets__published_sizes_fix_the_first_norm_and_sum_two_rates() -> None:
    built = on_meta("deeplab_r101")
    fixed = [name for name, p in built.named_parameters() if not p.requires_grad]
    assert fixed == [f"backbone.embedder.embedder.normalization.{n}" for n in ("weight", "bias")]
    for head in (built.head, built.aux_head):
        convolutions = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
        assert [(c.kernel_size, c.dilation, c.padding) for c in convolutions] == [
            ((3, 3), (rate, rate), (rate, rate)) for rate in (6, 12)
        ]


def test_presets__all_four_rates_are_a_value_of_the_preset() -> None:
    preset = replace(DEEPLAB_PRESETS["deeplab_tiny"], rates=ALL_RATES)
    built = preset.build(num_classes=19, gradient_checkpointing=False)
    rates = [m.dilation[0] for m in built.head.modules() if isinstance(m, nn.Conv2d)]
    assert rates == [6, 12, 18, 24]


def test_head__sums_its_convolutions(network: DeepLab) -> None:
    maps = torch.randn(1, 192, 9, 17)
    near, far = (m for m in network.head.modules() if isinstance(m, nn.Conv2d))
    torch.testing.assert_close(network.head(maps), near(maps) + far(maps))


def test_forward__has_a_stride_of_8_with_cells_on_pixels(network: DeepLab) -> None:
    network.eval()
    with torch.no_grad():
        found = network(torch.rand(2, 3, 64, 128))
    assert found.logits.shape == (2, 19, 9, 17)  # as 512 pixels are 65 cells in published code
    assert (found.cell, found.align_corners, found.size) == (8, True, (64, 128))
    assert found.at_pixels().shape == (2, 19, 64, 128)
    torch.testing.assert_close(found.at_pixels()[..., ::8, ::8], found.logits[..., :8, :16])


def test_forward__equals_backbone_and_head_on_normalised_padded_pixels(network: DeepLab) -> None:
    images = torch.rand(1, 3, 40, 65)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    network.eval()
    with torch.no_grad():
        maps = stages(network.backbone, F.pad((images - mean) / std, (0, 0, 0, 1)))
        found = network(images)
        torch.testing.assert_close(found.logits, network.head(maps[3]))
        assert found.features is not None
        assert torch.equal(cut_padding(found.features, images, cell=8), network.features(images))
    assert network.features(images).shape == (1, 192, 5, 9)


def test_forward__the_auxiliary_head_speaks_in_training_alone(network: DeepLab) -> None:
    images = torch.rand(2, 3, 32, 40)
    (aux,) = network(images).aux
    assert aux.weight == 0.1
    assert aux.prediction.at_pixels().shape == (2, 19, 32, 40)
    assert network.eval()(images).aux == ()


def test_forward__works_in_bf16_autocast(network: DeepLab) -> None:
    labels = SemanticMap(torch.zeros(64, 64, dtype=torch.uint8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pixel_cross_entropy(network(torch.rand(1, 3, 64, 64)), [labels])
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_parameters__all_get_gradients_from_both_heads(network: DeepLab) -> None:
    found = network(torch.rand(2, 3, 64, 64))
    (found.logits.square().mean() + found.aux[0].prediction.logits.square().mean()).backward()
    names = [name for name, _ in network.named_parameters()]
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert 0 < sum(name.startswith(network.backbone_prefix) for name in names) < len(names)
    assert set(network.class_head) <= set(names)
    assert all(p.shape[0] == 19 for n, p in network.named_parameters() if n in network.class_head)


def test_forward__is_the_same_with_gradient_checkpointing(network: DeepLab) -> None:
    other, _ = build_semantic("deeplab_tiny", weights=None, gradient_checkpointing=True)
    other.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 64, 64)
    for one in (network, other):
        found = one(images)
        (found.logits.square().mean() + found.aux[0].prediction.logits.square().mean()).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(other.get_parameter(name).grad, parameter.grad)
    for name, buffer in network.named_buffers():  # running statistics move once
        torch.testing.assert_close(other.get_buffer(name), buffer)


def test_build_semantic__reads_a_classifiers_backbone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = ResNetForImageClassification(TINY.config())
    theirs.save_pretrained(tmp_path)
    network, report = build_semantic("deeplab_tiny", weights=tmp_path)
    own = network.state_dict()
    expected = theirs.resnet.state_dict()
    assert all(torch.equal(own[f"backbone.{name}"], value) for name, value in expected.items())
    assert report.loaded == len(expected)
    assert set(report.missing) == {name for name in own if "head." in name}
    assert all(name.startswith("classifier") for name in report.unexpected)


def test_build_semantic__refuses_another_resnet(tmp_path: Path) -> None:
    ResNetForImageClassification(R18.config()).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"'deeplab_r50'.*layer_type is basic, not bottleneck"):
        build_semantic("deeplab_r50", weights=tmp_path)
