"""The dilated ResNet beside the library's: strides, weights, first stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import ResNetModel

from uda4inst.models.resnet import R101, TINY, dilate, freeze_stem_norm, stages


def pair() -> tuple[ResNetModel, ResNetModel]:
    """A plain network, and a dilated one of the same weights."""
    torch.manual_seed(0)
    plain, dilated = ResNetModel(TINY.config()), ResNetModel(TINY.config())
    dilated.load_state_dict(plain.state_dict())
    dilate(dilated)
    return plain.eval(), dilated.eval()


def test_dilate__keeps_the_last_two_stages_at_a_stride_of_8() -> None:
    plain, dilated = pair()
    pixels = torch.randn(1, 3, 65, 129)
    with torch.no_grad():
        assert [m.shape[-2:] for m in stages(plain, pixels)] == [(17, 33), (9, 17), (5, 9), (3, 5)]
        assert [m.shape[-2:] for m in stages(dilated, pixels)] == [(17, 33), *[(9, 17)] * 3]


def test_dilate__changes_no_weight_and_nothing_before_the_third_stage() -> None:
    plain, dilated = pair()
    assert all(torch.equal(v, dilated.state_dict()[k]) for k, v in plain.state_dict().items())
    pixels = torch.randn(2, 3, 40, 72)
    with torch.no_grad():
        ours, theirs = stages(dilated, pixels), stages(plain, pixels)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


def test_dilate__spreads_every_3x3_convolution_of_a_stage() -> None:
    with torch.device("meta"):
        resnet = ResNetModel(R101.config())
    dilate(resnet)
    found = [
        {
            (c.stride[0], c.dilation[0], c.padding[0])
            for c in resnet.encoder.stages[number].modules()
            if isinstance(c, nn.Conv2d) and c.kernel_size == (3, 3)
        }
        for number in range(4)
    ]
    assert found == [{(1, 1, 1)}, {(2, 1, 1), (1, 1, 1)}, {(1, 2, 2)}, {(1, 4, 4)}]


def test_dilate__a_spread_convolution_sees_every_other_cell() -> None:
    _, dilated = pair()
    first = dilated.encoder.stages[2].get_submodule("layers.0.layer.0.convolution")
    assert isinstance(first, nn.Conv2d)
    maps = torch.randn(1, 64, 9, 10)
    expected = torch.zeros(1, 128, 9, 10)
    for row in range(3):
        for column in range(3):
            away = (2 * (row - 1), 2 * (column - 1))
            expected += torch.einsum(
                "oi,bihw->bohw", first.weight[:, :, row, column], moved(maps, away)
            )
    torch.testing.assert_close(first(maps), expected, rtol=1e-4, atol=1e-4)


def moved(maps: Tensor, away: tuple[int, int]) -> Tensor:
    """Return what every cell sees so many rows and columns away; zero outside."""
    seen = torch.zeros_like(maps)
    height, width = maps.shape[-2:]
    for y in range(height):
        for x in range(width):
            from_y, from_x = y + away[0], x + away[1]
            if 0 <= from_y < height and 0 <= from_x < width:
                seen[..., y, x] = maps[..., from_y, from_x]
    return seen


def test_freeze_stem_norm__fixes_scale_and_shift_of_the_first_norm_alone() -> None:
    resnet, _ = pair()
    freeze_stem_norm(resnet)
    fixed = [name for name, p in resnet.named_parameters() if not p.requires_grad]
    assert fixed == [f"embedder.embedder.normalization.{part}" for part in ("weight", "bias")]
    resnet.train()
    before = resnet.embedder.embedder.normalization.get_buffer("running_mean").clone()
    stages(resnet, torch.rand(2, 3, 32, 32))
    assert not torch.equal(
        resnet.embedder.embedder.normalization.get_buffer("running_mean"), before
    )
