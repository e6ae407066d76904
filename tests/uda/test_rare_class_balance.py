from __future__ import annotations

from collections.abc import Callable

import pytest

from uda4inst.structures import Sample
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
