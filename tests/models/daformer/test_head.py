"""DAFormer's head by its tensors: their number, biases, norms, dilations."""

from __future__ import annotations

import torch
from torch import nn

from uda4inst.models.daformer.head import FusionHead
from uda4inst.models.daformer.presets import DAFORMER_PRESETS

LEVELS = ((64, 16), (128, 8), (320, 4), (512, 2))  # channels and side of a 64x64 image's levels


def published_head() -> FusionHead:
    with torch.device("meta"):
        return DAFORMER_PRESETS["daformer_b5"].head(19)


def test_head__has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in published_head().parameters()) == 3_712_275


def test_head__brings_levels_to_one_width_by_linear_layers_alone() -> None:
    head = published_head()
    shapes = [(e.in_features, e.out_features, e.bias is not None) for e in _linear(head)]
    assert shapes == [(64, 256, True), (128, 256, True), (320, 256, True), (512, 256, True)]


def _linear(head: FusionHead) -> list[nn.Linear]:
    return [module for module in head.modules() if isinstance(module, nn.Linear)]


def test_head__has_one_plain_branch_and_three_separable_ones_all_normalised() -> None:
    branches = published_head().context.branches
    described = [
        [
            (c.in_channels, c.out_channels, c.kernel_size[0], c.dilation[0], c.padding[0], c.groups)
            for c in branch.modules()
            if isinstance(c, nn.Conv2d)
        ]
        for branch in branches
    ]
    pointwise = (1024, 256, 1, 1, 0, 1)
    assert described == [
        [pointwise],
        *[[(1024, 1024, 3, rate, rate, 1024), pointwise] for rate in (6, 12, 18)],
    ]
    kinds = [
        [type(m).__name__ for m in branch.modules() if not isinstance(m, nn.Sequential)]
        for branch in branches
    ]
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == [block, block * 2, block * 2, block * 2]


def test_head__only_the_last_convolution_has_a_bias() -> None:
    head = published_head()
    convolutions = {n: m for n, m in head.named_modules() if isinstance(m, nn.Conv2d)}
    assert [n for n, m in convolutions.items() if m.bias is not None] == ["classifier"]
    bottleneck = convolutions["context.bottleneck.0"]
    assert (bottleneck.in_channels, bottleneck.out_channels) == (1024, 256)
    assert bottleneck.kernel_size == (3, 3)
    assert isinstance(head.dropout, nn.Dropout2d)
    assert head.dropout.p == 0.1


def test_head__starts_its_last_layer_small() -> None:
    torch.manual_seed(0)
    head = DAFORMER_PRESETS["daformer_b0"].head(19)
    weight = head.classifier.weight.detach()
    assert abs(float(weight.std()) - 0.01) < 0.001
    assert not head.classifier.bias.detach().any()  # pyright: ignore[reportOptionalMemberAccess]


def test_head__gives_logits_at_the_finest_level() -> None:
    head = DAFORMER_PRESETS["daformer_b1"].head(7)
    levels = [torch.randn(2, width, side, side) for width, side in LEVELS]
    assert head(levels).shape == (2, 7, 16, 16)


def test_head__sees_the_context_of_every_level() -> None:
    torch.manual_seed(0)
    head = DAFORMER_PRESETS["daformer_tiny"].head(3).eval()
    levels = [
        torch.randn(1, w, s, s, requires_grad=True)
        for w, s in zip((24, 48, 96, 160), (64, 32, 16, 8), strict=True)
    ]
    head(levels)[0, 0, 32, 32].backward()
    for level in levels:
        assert level.grad is not None
        seen = level.grad[0].abs().sum(0).nonzero()
        # the dilated branches reach 18 cells to each side
        reach = (seen.amax(0) - seen.amin(0)) * 64 // level.shape[-1]
        assert int(reach.min()) >= 36
