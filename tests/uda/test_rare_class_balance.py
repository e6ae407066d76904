from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from uda4inst.ops.color import align_lab, lab_statistics
from uda4inst.structures import Sample, TargetSample
from uda4inst.uda.rare_class_balance import PoolConfig, RareClassBalance

DrawSample = Callable[..., Sample]
TRAIN = 5


def share_of_draws(sample: DrawSample, config: PoolConfig, *, progress: float = 0.0) -> float:
    """Return the share of 400 sources without rare instances that are given a draw."""
    balance = RareClassBalance(config, seed=3)
    rare, plain = sample("AA", labels=[TRAIN]), sample("AA", labels=[2])
    balance.balance([rare], balance.find([rare]), wanted=[True], step=0)
    none = balance.find([plain])
    given = [
        balance.balance([plain], none, wanted=[True], step=step, progress=progress)[0]
        for step in range(1, 401)
    ]
    return sum(map(bool, given)) / len(given)


@pytest.mark.parametrize(
    ("settings", "progress", "expected"),
    [
        pytest.param({}, 0.7, 1.0, id="paper"),
        pytest.param({"draw_chance": 0.2}, 0.7, 0.2, id="one-in-five"),
        pytest.param({"fade": True}, 0.0, 1.0, id="before-it-fades"),
        pytest.param({"fade": True}, 0.7, 0.3, id="fading"),
        pytest.param({"fade": True}, 1.0, 0.0, id="faded"),
        pytest.param({"fade": True, "draw_chance": 0.5}, 0.5, 0.25, id="both"),
    ],
)
def test_balance__draws_as_often_as_asked(
    sample: DrawSample, settings: dict[str, float], progress: float, expected: float
) -> None:
    config = PoolConfig.model_validate(settings)
    assert share_of_draws(sample, config, progress=progress) == pytest.approx(expected, abs=0.05)


def test_balance__realigned_draws_look_like_the_image_they_go_into(sample: DrawSample) -> None:
    rng = np.random.default_rng(0)
    dark, bright = (
        torch.from_numpy((low + 0.3 * rng.random((3, 4, 6))).astype(np.float32))
        for low in (0.1, 0.6)
    )
    stored = replace(sample(*["AAAABB"] * 4, labels=[TRAIN, 2]), image=dark)
    plain = sample("AA", labels=[2])
    for colours in ("stored", "realigned"):
        balance = RareClassBalance(PoolConfig(colours=colours), seed=3)
        looks = [lab_statistics(dark), lab_statistics(bright)]
        _, (entry,) = balance.balance(
            [stored, plain],
            balance.find([stored, plain]),
            wanted=[True, True],
            looks=looks if colours == "realigned" else None,
            step=0,
        )
        expected = dark if colours == "stored" else align_lab(dark, bright)
        assert torch.allclose(entry.image, expected[:, :, :4], atol=1e-4)
        assert torch.equal(balance.pool.entries[0].image, dark[:, :, :4])  # as it was stored


def test_looks__none_where_draws_keep_their_colours() -> None:
    image = torch.linspace(0, 1, 24).view(3, 2, 4)
    crops = [TargetSample(image, torch.ones(2, 4, dtype=torch.bool), "a")]
    assert RareClassBalance(PoolConfig()).looks(crops) is None
    assert RareClassBalance(PoolConfig(colours="realigned", enabled=False)).looks(crops) is None
    found = RareClassBalance(PoolConfig(colours="realigned")).looks(crops)
    assert found is not None
    assert torch.equal(found[0].mean, lab_statistics(crops[0].image).mean)
