"""Steps and whole runs on a GPU or its stand-in, and what crossed to the device and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_cuda.device import Crossing, Device

from uda4inst.methods.updates import Update
from uda4inst.run_folder.layout import RunDir
from uda4inst.training import launch
from uda4inst.training.batches import open_batches, open_data
from uda4inst.training.config import Config, load_config
from uda4inst.training.loop import Progress
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session
from uda4inst.training.step import Phase, take_step

# Of `take_steps`: the first step of stage 2, and all.
STAGE_1, STEPS = 1, 4
# Constants, brought there before the first step of a process.
ONCE = "uda4inst/ops/color.py"


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


@dataclass(frozen=True, slots=True)
class Steps:
    """What some steps left behind.

    Args:
        losses: by name, of every step.
        crossings: of every step.
        without_gradient: parameters that got none before their update, in any step.
    """

    losses: list[dict[str, float]]
    crossings: list[list[Crossing]]
    without_gradient: set[str]

    def unlike(self, *permitted: tuple[str, str, str]) -> Counter[str]:
        """Return what crossed and is not permitted."""
        found: Counter[str] = Counter()
        for crossing in (crossing for step in self.crossings for crossing in step):
            line, function = crossing.place.split(" ")
            if (line.split(":")[0], function, crossing.kind) not in permitted:
                found[str(crossing)] += 1
        return found

    @property
    def waits(self) -> list[int]:
        """How often the host waits in each step."""
        return [sum(crossing.waits for crossing in step) for step in self.crossings]


def take_steps(config: Config, gpu: Device | None) -> Steps:
    """Train one step of stage 1 and three of stage 2."""
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        batches = open_batches(config, processes, open_data(config).trees, first_step=0)
        steps = Steps([], [], set())

        updates: Iterator[Update] = iter(())

        def look_at_gradients(phase: Phase) -> None:
            nonlocal updates
            if phase == "prepare":
                updates = iter(session.stage.updates)
            elif phase == "update":
                trained = {name: session.stage.trained[name] for name in next(updates).trains}
                steps.without_gradient.update(
                    f"{name}.{parameter}"
                    for name, one in trained.items()
                    for parameter, values in one.network.named_parameters()
                    if values.requires_grad and values.grad is None
                )

        for step in range(STEPS):
            if step == STAGE_1:
                session.enter_stage_2()
            batch = next(batches)
            if gpu:
                gpu.clear()
            taken = take_step(session, batch, enter=look_at_gradients)
            session.stage.method.figures(taken.views)
            if gpu:
                crossed = [c for c in gpu.crossings if step or not c.place.startswith(ONCE)]
                steps.crossings.append(crossed)
            steps.losses.append({t.name: float(t.value.detach().cpu()) for t in taken.terms})
            session.step += 1
        batches.close()
        return steps
    finally:
        processes.leave()
