"""DAFormer's encoder, its weights, and what a forward gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from transformers import SegformerForImageClassification, SegformerForSemanticSegmentation

from uda4inst.errors import UserError
from uda4inst.models.daformer.network import DAFormerNetwork
from uda4inst.models.daformer.presets import DAFORMER_PRESETS
from uda4inst.models.pixels import cut_padding
from uda4inst.models.segformer.presets import SEGFORMER_PRESETS
from uda4inst.models.semantic.build import build_semantic
from uda4inst.models.semantic.loss import pixel_cross_entropy
from uda4inst.structures import SemanticMap

# encoders without their classifier as SegFormer's Table 6 has them, M, and this head's own count
MILLIONS = {
    "daformer_tiny": 1.0,
    "daformer_b0": 3.3 + 3.6,
    "daformer_b1": 13.2 + 3.7,
    "daformer_b2": 24.2 + 3.7,
    "daformer_b3": 44.1 + 3.7,
    "daformer_b4": 60.8 + 3.7,
    "daformer_b5": 81.4 + 3.7,
}


@pytest.fixture
def network() -> DAFormerNetwork:
    torch.manual_seed(0)
    built, _ = build_semantic("daformer_tiny", weights=None)
    assert isinstance(built, DAFormerNetwork)
    return built


def gradient_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    network.zero_grad()
    network(images).logits.square().mean().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", DAFORMER_PRESETS)
def test_presets__have_the_size_of_encoder_and_head(name: str) -> None:
    with torch.device("meta"):
        built = DAFORMER_PRESETS[name].build(num_classes=19, gradient_checkpointing=False)
    assert built.architecture["parameters"] / 1e6 == pytest.approx(MILLIONS[name], rel=0.01)
    assert (built.architecture["preset"], built.architecture["num_classes"]) == (name, 19)


def test_presets__published_sizes_drop_paths_and_channels_linearly_up_to_a_tenth() -> None:
    with torch.device("meta"):
        encoder = (
            DAFORMER_PRESETS["daformer_b5"]
            .build(num_classes=19, gradient_checkpointing=False)
            .encoder
        )
    rates = [
        getattr(block.drop_path, "drop_prob", 0.0)
        for stage in cast("Any", encoder.stages)
        for block in stage.blocks
    ]
    assert rates == pytest.approx([0.1 * k / 51 for k in range(52)])


def test_encoder__has_the_published_epsilons(network: DAFormerNetwork) -> None:
    epsilons = {n: m.eps for n, m in network.encoder.named_modules() if isinstance(m, nn.LayerNorm)}
    coarse = {name for name, eps in epsilons.items() if eps == 1e-6}
    fine = {name for name, eps in epsilons.items() if eps == 1e-5}
    assert coarse | fine == set(epsilons)
    assert all("patch_embeddings" in name or "sequence_reduction" in name for name in fine)
    assert not any("patch_embeddings" in name or "sequence_reduction" in name for name in coarse)


def test_forward__gives_logits_and_features_over_the_padded_image(network: DAFormerNetwork) -> None:
    network.eval()
    images = torch.rand(2, 3, 50, 75)
    with torch.no_grad():
        found = network(images)
        assert found.features is not None
        assert torch.equal(cut_padding(found.features, images), network.features(images))
    assert found.logits.shape == (2, 19, 16, 24)
    assert found.at_pixels().shape == (2, 19, 50, 75)
    assert found.aux == ()


def test_forward__works_in_bf16_autocast(network: DAFormerNetwork) -> None:
    labels = SemanticMap(torch.zeros(64, 64, dtype=torch.uint8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pixel_cross_entropy(network(torch.rand(1, 3, 64, 64)), [labels])
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_parameters__all_get_gradients_and_backbone_and_head_are_found(
    network: DAFormerNetwork,
) -> None:
    network(torch.rand(2, 3, 64, 64)).logits.square().mean().backward()
    names = [name for name, _ in network.named_parameters()]
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert 0 < sum(name.startswith(network.backbone_prefix) for name in names) < len(names)
    assert set(network.class_head) <= set(names)


def test_forward__is_the_same_with_gradient_checkpointing(network: DAFormerNetwork) -> None:
    other, _ = build_semantic("daformer_tiny", weights=None, gradient_checkpointing=True)
    other.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 64, 64)
    expected = gradient_of(network, images)
    torch.testing.assert_close(gradient_of(other, images), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "kind", [SegformerForImageClassification, SegformerForSemanticSegmentation]
)
def test_build_semantic__reads_the_encoder_of_whatever_has_one(tmp_path: Path, kind: Any) -> None:
    torch.manual_seed(3)
    theirs = kind(SEGFORMER_PRESETS["mit_tiny"].config(150))
    theirs.save_pretrained(tmp_path)
    network, report = build_semantic("daformer_tiny", weights=tmp_path)
    own = network.state_dict()
    expected = theirs.segformer.state_dict()
    assert all(torch.equal(own[f"encoder.{name}"], value) for name, value in expected.items())
    assert report.loaded == len(expected)
    assert set(report.missing) == {name for name in own if name.startswith("head.")}
    assert all(name.startswith(("classifier", "decode_head")) for name in report.unexpected)


def test_build_semantic__refuses_the_encoder_of_another_size(tmp_path: Path) -> None:
    SegformerForImageClassification(SEGFORMER_PRESETS["mit_tiny"].config(10)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UserError, match=r"preset 'daformer_b0'.*hidden_sizes is \(24, 48, 96"):
        build_semantic("daformer_b0", weights=tmp_path)
