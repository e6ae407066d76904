"""What is measured: so many calls, each timed, none with gradients."""

from __future__ import annotations

import time

import pytest
import torch

from uda4inst.evaluation.speed import Speed, measure


def test_measure__times_the_repeats_and_not_the_warm_up() -> None:
    calls: list[bool] = []

    def run() -> None:
        calls.append(torch.is_grad_enabled())
        time.sleep(0.2 if len(calls) == 1 else 0.01)

    speed = measure(run, device=torch.device("cpu"), repeats=4, warm_up=1)
    assert calls == [False] * 5
    assert len(speed.seconds) == 4
    assert all(seconds >= 0.01 for seconds in speed.seconds)
    assert speed.warm_up == 1
    assert speed.peak_bytes > 2**20


def test_speed__rates_and_quantiles_by_hand() -> None:
    speed = Speed(seconds=(0.1, 0.2, 0.3, 0.4), warm_up=0, peak_bytes=0)
    assert speed.per_second(3) == pytest.approx(12.0)
    assert speed.latency(0.5) == pytest.approx(0.25)
    assert speed.latency(1.0) == pytest.approx(0.4)
