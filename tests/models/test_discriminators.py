"""Discriminators: published sizes and operations, layers, and the smallest image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uda4inst.errors import UserError
from uda4inst.models.discriminators import build_discriminator
from uda4inst.models.flops import count_flops


@pytest.mark.parametrize(("name", "values"), [("fcd", 2_781_121), ("dsc", 189_424)])
def test_build_discriminator__has_the_published_parameters(name: str, values: int) -> None:
    assert sum(p.numel() for p in build_discriminator(name).parameters()) == values


@pytest.mark.parametrize(("name", "gflops"), [("fcd", 30.89), ("dsc", 2.147)])
def test_build_discriminator__takes_the_published_operations(name: str, gflops: float) -> None:
    """The report also counts 11 multiply-adds for every pixel that is resized."""
    counted = count_flops(build_discriminator(name), (512, 1024), channels=19)
    resizing = 2 * 11 * 512 * 1024
    assert (counted + resizing) / 1e9 == pytest.approx(gflops, rel=2e-4)


def test_dsc__has_no_bias_and_activates_after_the_1x1_alone() -> None:
    layers = list(build_discriminator("dsc").layers)
    kinds = ["depth", "point", "leaky"] * 4 + ["depth", "point"]
    assert [_kind(layer) for layer in layers] == kinds
    assert [n for n, _ in build_discriminator("dsc").named_parameters() if "bias" in n] == []


def test_fcd__is_five_strided_convolutions_with_leaky_relus_between() -> None:
    layers = list(build_discriminator("fcd").layers)
    assert [_kind(layer) for layer in layers] == ["plain", "leaky"] * 4 + ["plain"]


def _kind(layer: nn.Module) -> str:
    if isinstance(layer, nn.LeakyReLU):
        assert layer.negative_slope == 0.2
        return "leaky"
    assert isinstance(layer, nn.Conv2d)
    if layer.kernel_size == (1, 1):
        return "point"
    assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
    return "plain" if layer.groups == 1 else "depth"


@pytest.mark.parametrize("name", ["fcd", "dsc"])
@pytest.mark.parametrize("size", [(32, 32), (128, 256), (50, 75)], ids=str)
def test_forward__gives_a_logit_a_pixel(name: str, size: tuple[int, int]) -> None:
    probabilities = torch.rand(2, 19, *size).softmax(dim=1).requires_grad_()
    logits = build_discriminator(name)(probabilities)
    logits.sum().backward()
    assert logits.shape == (2, 1, *size)
    assert probabilities.grad is not None


def test_forward__says_how_small_an_image_may_be() -> None:
    with pytest.raises(UserError, match=r"at least 32 pixels a side .* got 31x64"):
        build_discriminator("dsc")(torch.rand(1, 19, 31, 64))


def test_build_discriminator__names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"one of fcd, dsc, got 'dcs'.*Did you mean"):
        build_discriminator("dcs")
