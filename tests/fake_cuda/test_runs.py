"""Runs of every method and option on the stand-in: nothing mixes, next to nothing crosses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_cuda.device import Device
from gpu_runs import Watched, assert_alike, train

pytestmark = [pytest.mark.fake_cuda, pytest.mark.usefixtures("tiny_is_mini")]

Overrides = Callable[..., list[str]]

# What may pass in a step, by function, and whether the host waits for it. Nothing else may.
PERMITTED = {
    ("uda4inst/structures.py", "moved", "to device, asynchronous"),  # the batch
    ("uda4inst/models/mask2former/matching.py", "assign", "to host"),  # the one that waits
    ("uda4inst/models/mask2former/matching.py", "assign", "to device, asynchronous"),
    ("uda4inst/training/journal.py", "_fetch", "to host, asynchronous"),  # losses
    ("uda4inst/training/journal.py", "_host", "to host, asynchronous"),  # figures
}
OPTIONS = {
    "paper": [],
    "groups off, colours as they are": ["method.groups=one", "method.lab_alignment=false"],
    "one forward a view": ["method.joint_forward=false"],
    "thirds": ["method.mixing.batch=thirds", "training.batch_size=3"],
    "s2t alone": ["method.mixing.t2s=false"],
    "t2s alone": ["method.mixing.s2t=false"],
    "no mixing": ["method.mixing.s2t=false", "method.mixing.t2s=false"],
    "pool off": ["method.pool.enabled=false"],
    "pool by rarity and area": ["method.pool.draw_by_rarity=true", "method.pool.area_budget=0.3"],
    "authors' later code": [
        "method.mixing.blur=true",
        "method.mixing.patch_max_area=1500",
        "method.mixing.min_area=20",
    ],
    "unsure, slivers, soft, adaptive": [
        "method.unsure_threshold=0.03",
        "method.min_visible_share=0.3",
        "method.soft_weights=true",
        "method.adaptive_threshold.enabled=true",
        "method.adaptive_threshold.floor=0.05",
    ],
    "checkpointing": ["model.gradient_checkpointing=true"],
    "bf16": ["training.precision=bf16"],
}
SHORT = [
    "training.stage1_steps=2",
    "training.stage2_steps=4",
    "training.checkpoint_every=100",
    "training.snapshot_every=0",
    "evaluation.stage1=false",
    "evaluation.limit=1",
    "training.log_every=1",
]


# Steps of these runs (stage 1: 1 and 2) that no checkpoint or evaluation comes before.
STEADY = (2, 4, 5)


def forbidden(run: Watched) -> Counter[str]:
    """Return what crossed in steady steps and is not permitted."""
    found: Counter[str] = Counter()
    for crossing in (c for step in STEADY for c in run.crossings[step]):
        line, function = crossing.place.split(" ")
        if (line.split(":")[0], function, crossing.kind) not in PERMITTED:
            found[str(crossing)] += 1
    return found


def waits(run: Watched) -> list[int]:
    """Return how often the host waits for the device in steady steps."""
    return [sum(crossing.waits for crossing in run.crossings[step]) for step in STEADY]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_uda4inst__every_option_as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, options: list[str]
) -> None:
    wanted = ["method.groups=one", *SHORT, *options]
    reference = train(None, "toystreets_smoke", short_run(tmp_path, "host", *wanted))
    gpu.clear()
    run = train(gpu, "toystreets_smoke", short_run(tmp_path, "device", *wanted))
    assert not forbidden(run)
    assert waits(run) == [1, 1, 1]
    assert_alike(run.metrics, reference.metrics)
