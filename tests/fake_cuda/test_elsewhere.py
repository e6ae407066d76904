"""A run that began on a CPU goes on on a GPU, the stand-in, and back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from compared_runs import metrics
from fake_cuda.device import Device
from gpu_runs import assert_alike, train

from uda4inst.run_folder.layout import RunDir
from uda4inst.training.groups import category_groups

pytestmark = [pytest.mark.fake_cuda, pytest.mark.usefixtures("tiny_is_mini")]

SHORT = (
    "method.groups=one",
    "training.stage1_steps=2",
    "training.stage2_steps=4",
    "training.checkpoint_every=4",
    "training.snapshot_every=0",
    "training.inference_precision=fp32",
    "evaluation.stage1=false",
)


def resumed(run: RunDir, device: str) -> None:
    overrides = [f"training.device={device}"]
    category_groups.resume(run, step=4, may_replace=True, overrides=overrides)


@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_resume__on_the_other_device(
    gpu: Device,
    short_run: Callable[..., list[str]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    first: str,
) -> None:
    second = "cuda" if first == "cpu" else "cpu"
    settings = short_run(tmp_path, "a", *SHORT)
    run = train(gpu if first == "cuda" else None, "toystreets_smoke", settings).run
    before = metrics(run)
    with caplog.at_level(logging.WARNING, "uda4inst"):
        resumed(run, second)
    (message,) = [r.message for r in caplog.records if "elsewhere" in r.message]
    assert "device " in message
    assert "not to the bit" in message
    assert_alike(metrics(run), before)
