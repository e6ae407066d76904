"""Whole runs on the stand-in for a GPU, and what crossed between host and device in each step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_cuda.device import Crossing, Device

from uda4inst.run_folder.layout import RunDir
from uda4inst.training import launch
from uda4inst.training.config import load_config
from uda4inst.training.loop import Progress


@dataclass(frozen=True, slots=True)
class Watched:
    """A finished run, with what crossed by step (the work between steps counts to the next)."""

    run: RunDir
    crossings: dict[int, list[Crossing]]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of its metrics."""
        return [json.loads(line) for line in self.run.metrics.read_text().splitlines()]


def on_gpu(overrides: Sequence[str]) -> list[str]:
    """Return overrides that let a run take the device, in one process."""
    kept = [item for item in overrides if not item.startswith("training.device")]
    return [*kept, "data.workers=0"]


def train(gpu: Device | None, preset: str, overrides: Sequence[str]) -> Watched:
    """Train a run, on the device if there is one, watched step by step."""
    config = load_config(preset, on_gpu(overrides) if gpu else overrides)
    crossings: dict[int, list[Crossing]] = {}

    def watch(progress: Progress) -> None:
        if gpu is not None:
            crossings.setdefault(progress.step, []).extend(gpu.crossings)
            gpu.clear()

    assert launch.train(config, watch=watch).state == "finished"
    return Watched(RunDir(Path(config.run.root) / config.run.name), crossings)


def assert_alike(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> None:
    """Compare losses and pseudo-labels step by step; rounding may differ."""
    assert len(one) == len(other) > 0
    for mine, reference in zip(one, other, strict=True):
        assert mine["losses"] == pytest.approx(reference["losses"], rel=2e-3), mine["step"]
        for name in ("pseudo_labels", "pool"):
            assert mine.get(name) == reference.get(name), (name, mine["step"])
