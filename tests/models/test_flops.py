"""Operations counted beside sums over every layer's own formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from transformers.models.segformer.modeling_segformer import SegformerAttention

from uda4inst.models.flops import count_flops
from uda4inst.tasks import task_of

SIZE = (64, 96)


def by_layers(network: nn.Module) -> int:
    """Two a multiply-add of every convolution, linear layer and attention that a forward calls."""
    total = 0

    def convolution(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        per_value = math.prod(layer.kernel_size) * layer.in_channels // layer.groups
        total += 2 * output.numel() * per_value

    def linear(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Linear)
        total += 2 * output.numel() * layer.in_features

    def attention(layer: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
        nonlocal total
        assert isinstance(layer, SegformerAttention)
        batch, queries, channels = inputs[0].shape
        keys = queries // layer.sequence_reduction_ratio**2
        total += 2 * 2 * batch * queries * keys * channels  # scores, and what they weight

    rules = {nn.Conv2d: convolution, nn.Linear: linear, SegformerAttention: attention}
    for module in network.modules():
        if rule := rules.get(type(module)):
            module.register_forward_hook(rule)
    with torch.no_grad():
        network.eval()(torch.zeros(2, 3, *SIZE))
    return total


@pytest.mark.parametrize("preset", ["mit_tiny", "daformer_tiny", "deeplab_tiny", "bisenet_tiny"])
def test_count_flops__is_the_sum_over_the_layers(preset: str) -> None:
    network, _ = task_of(preset).build_network(preset, weights=None)
    assert count_flops(network, SIZE, images=2) == by_layers(network)


def test_count_flops__of_a_convolution_by_hand() -> None:
    network = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    assert count_flops(network, (8, 10)) == 2 * (4 * 5) * 5 * 3 * 9


def test_count_flops__leaves_mode_and_statistics_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_flops(network, (4, 4))
    assert network.training
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())


def test_count_flops__works_for_networks_of_instances() -> None:
    network, _ = task_of("tiny").build_network("tiny", weights=None)
    one, two = (count_flops(network, SIZE, images=images) for images in (1, 2))
    assert one * 2 == two
    assert one > 0
