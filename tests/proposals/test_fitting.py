"""Crops by the sizes of images, networks by the memory of a card."""

from __future__ import annotations

from typing import Any

import pytest

from uda4inst.data.config import DataConfig
from uda4inst.errors import UserError
from uda4inst.proposals.commented import plain
from uda4inst.proposals.fitting import Crop, Scale, Sizes, crop_of, fit_scale
from uda4inst.training.config import Config, check_config
from uda4inst.training.gpu import Card
from uda4inst.training.memory import wanted_gib

REF = {"format": "urbansyn", "root": "a"}
BASE: dict[str, Any] = {
    "data": {"source": REF, "target": REF, "val": REF},
    "method": {"name": "uda4inst", "groups": "two"},
}


def sizes(height: int, width: int) -> Sizes:
    aspect = max(height, width) / min(height, width)
    return Sizes(1, (height, width), (aspect, aspect), width / height)


CITY = sizes(1024, 2048)


def card(gib: float, *, has_bf16: bool = True) -> Card:
    return Card("a card", gib, has_bf16)


def tenths(side: int, last: int) -> tuple[int, ...]:
    return tuple(side * tenth // 10 for tenth in range(10, last + 1))


@pytest.mark.parametrize(
    ("target", "gpu", "size", "last", "longest"),
    [
        pytest.param(CITY, True, (1024, 1024), 20, 2048, id="paper"),
        pytest.param(sizes(376, 1408), True, (352, 352), 20, 1319, id="wide-target"),
        pytest.param(sizes(720, 1280), True, (704, 704), 20, 1408, id="16-to-9"),
        pytest.param(CITY, False, (128, 256), 12, 306, id="cpu"),
        pytest.param(sizes(480, 640), False, (128, 160), 12, 306, id="cpu-4-to-3"),
        pytest.param(sizes(1280, 720), False, (128, 128), 12, 306, id="cpu-upright"),
        pytest.param(sizes(20, 20), False, (32, 32), 12, 76, id="small"),
    ],
)
def test_crop_of__follows_the_target(
    target: Sizes, gpu: bool, size: tuple[int, int], last: int, longest: int
) -> None:
    found = crop_of(CITY, target, card=card(40) if gpu else None)
    assert found == Crop(size, tenths(size[0], last), longest)


def test_crop_of__is_the_papers_on_the_papers_images() -> None:
    fields = DataConfig.model_fields
    found = crop_of(CITY, CITY, card=card(40))
    assert found.short_sides == fields["short_sides"].default
    assert (found.size, found.long_side_max) == (fields["crop"].default, 2048)


def config_of(scale: Scale) -> Config:
    data = {
        **BASE["data"],
        "crop": scale.crop.size,
        "short_sides": scale.crop.short_sides,
        "long_side_max": scale.crop.long_side_max,
    }
    method = {**BASE["method"], **plain(scale.method), "pool": plain(scale.pool)}
    return check_config({"data": data, "method": method, **plain(scale.values)}, where="test")


def wanted(config: Config) -> float:
    gib = wanted_gib(config)
    assert gib is not None
    return gib


@pytest.mark.parametrize(
    ("gib", "preset", "checkpointed", "batch"),
    [
        (40, "swin_l", False, 3),  # the paper's
        (24, "swin_l", True, 3),
        (10, "swin_b", True, 3),
        (4, "swin_s", True, 1),
    ],
)
def test_fit_scale__largest_that_the_card_holds(
    gib: float, preset: str, checkpointed: bool, batch: int
) -> None:
    config = config_of(fit_scale(BASE, CITY, CITY, card(gib)))
    assert config.model.preset == preset
    assert config.model.gradient_checkpointing is checkpointed
    assert config.training.batch_size == batch
    assert str(config.model.weights).startswith("facebook/mask2former-swin-")
    assert config.data.crop == (1024, 1024)
    assert wanted(config) <= gib
    assert config.training.stage1_steps * batch == pytest.approx(30_000, abs=batch)


def test_fit_scale__card_without_bf16_trains_in_fp32() -> None:
    config = config_of(fit_scale(BASE, CITY, CITY, card(40, has_bf16=False)))
    assert config.training.precision == "fp32"
    assert wanted(config) <= 40


def test_fit_scale__small_cards_get_smaller_crops() -> None:
    config = config_of(fit_scale(BASE, CITY, CITY, card(2.4)))
    assert config.data.crop < (1024, 1024)
    assert wanted(config) <= 2.4


def test_fit_scale__card_that_holds_none() -> None:
    with pytest.raises(UserError, match=r"got 1\.0 GiB \(a card\).*--gpu-memory 0"):
        fit_scale(BASE, CITY, CITY, card(1))


def test_fit_scale__without_a_card_toystreets_own_start() -> None:
    config = config_of(fit_scale(BASE, CITY, CITY, None))
    assert (config.model.preset, config.model.weights) == ("tiny", "toystreets")
    assert config.evaluation.short_side == 128
