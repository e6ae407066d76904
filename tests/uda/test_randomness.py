from __future__ import annotations

import pytest
import torch

from uda4inst.uda.randomness import step_generator


def draws(*, seed: int, rank: int, step: int) -> list[float]:
    return torch.rand(4, generator=step_generator(seed=seed, rank=rank, step=step)).tolist()


def test_step_generator__repeats_itself() -> None:
    assert draws(seed=3, rank=1, step=7) == draws(seed=3, rank=1, step=7)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1, "rank": 0, "step": 0},
        {"seed": 0, "rank": 1, "step": 0},
        {"seed": 0, "rank": 0, "step": 1},
    ],
    ids=["seed", "rank", "step"],
)
def test_step_generator__depends_on_each_part(other: dict[str, int]) -> None:
    assert draws(seed=0, rank=0, step=0) != draws(**other)
