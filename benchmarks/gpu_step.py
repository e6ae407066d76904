"""The trainer's step of both stages on this machine's GPU: time by part, and peak memory.

    python benchmarks/gpu_step.py                                   # the paper's setting
    python benchmarks/gpu_step.py urbansyn_cityscapes model.deformable_kernel=triton
    python benchmarks/gpu_step.py toystreets_smoke data.crop=[64,128] --rounds 2 --warmup 1

The step is the trainer's own, on a batch of the configuration's size whose images hold 20 instances
each. Weights are fresh, and a fresh network is sure of nothing: the threshold is .05, so that its
teacher keeps pseudo-labels. What is measured goes out as JSON. On a CPU it runs too, to try it out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from uda4inst.structures import DomainBatch
from uda4inst.training.config import Config, load_config
from uda4inst.training.gpu import choose_settings
from uda4inst.training.memory import estimate, full_batch
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session
from uda4inst.training.step import take_step

INSTANCES = 20  # an image, as in the paper's sources
PARTS = ("prepare", "forward and losses", "backward", "update")


class Clock:
    """Milliseconds between marks, on the device where there is one."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.marks: list[Any] = []

    def mark(self) -> None:
        """Take the time, without stopping the device."""
        if self.on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def read(self) -> list[float]:
        """Return what passed between the marks, and forget them."""
        marks, self.marks = self.marks, []
        if self.on_gpu:
            torch.cuda.synchronize()
            return [a.elapsed_time(b) for a, b in itertools.pairwise(marks)]
        return [1e3 * (b - a) for a, b in itertools.pairwise(marks)]


def step(session: Session, batch: DomainBatch, mark: Callable[[], None]) -> None:
    """Do one step, with a mark before, after and between its parts."""
    take_step(session, batch, enter=lambda _: mark())
    mark()
    session.step += 1


def measure(config: Config, *, stage: int, rounds: int, warmup: int) -> dict[str, Any]:
    """Return the times and the peak memory of one stage's step."""
    choose_settings(config)
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        if stage == 2:
            session.enter_stage_2()
            session.step = session.stage.first
        device = processes.device
        batch, clock = full_batch(config, device, instances=INSTANCES), Clock(device)
        rows: list[list[float]] = []
        for index in range(warmup + rounds):
            if index == warmup and device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            step(session, batch, clock.mark)
            times = clock.read()
            if index >= warmup:
                rows.append(times)
        medians = [statistics.median(part) for part in zip(*rows, strict=True)]
        counted = estimate(config)
        return {
            "stage": stage,
            "ms": statistics.median(sum(row) for row in rows),
            "parts_ms": dict(zip(PARTS, medians, strict=True)),
            "peak_gib": _peak(device),
            "estimated_gib": None
            if counted is None
            else (counted.stage1, counted.stage2)[stage - 1],
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        }
    finally:
        processes.leave()


def _peak(device: torch.device) -> float:
    """Return the most memory held at once, GiB: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="urbansyn_cityscapes")
    parser.add_argument("overrides", nargs="*", help="such as model.gradient_checkpointing=true")
    parser.add_argument("--stages", default="1,2")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_intermixed_args(arguments)
    fixed = [
        "model.weights=null",
        "method.groups=one",
        "method.pool.rare_classes=[train]",
        "method.score_threshold=0.05",
    ]
    config = load_config(options.preset, [*fixed, *options.overrides])
    found = [
        measure(config, stage=int(stage), rounds=options.rounds, warmup=options.warmup)
        for stage in options.stages.split(",")
    ]
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
