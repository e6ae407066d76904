"""A day's worth of steps in minutes: does what a run holds and leaves stay bounded?

    python tests/support/long_run.py --steps 300000 --out FILE

Everything but the computing is real: loop, journal, status, requests, checkpoints, snapshots,
evaluations, log. After the first steps of each stage, every further one takes over what the step
before it left, and the batch is always the same, so that hundreds of thousands pass in minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from unittest import mock

import psutil
from mini_network import TINY_MINI

from uda4inst.atomic import write_json
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.commit import current_commit
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.metrics import MetricsReader
from uda4inst.run_folder.status import read_status
from uda4inst.structures import DomainBatch
from uda4inst.toystreets.write import write_toystreets
from uda4inst.training import launch, loop
from uda4inst.training.config import load_config
from uda4inst.training.session import Session
from uda4inst.training.step import Step, take_step

# A step of the paper's setting takes about this long on one card; docs/gpu.md.
STEP_SECONDS: Final = 0.3
LOOKS: Final = 10
REAL_STEPS: Final = 3
# What the process may hold at the end beyond what it held at the second look.
MORE_MIB: Final = 32.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a run holds and has left after so many steps.

    Args:
        read_seconds: to read all metrics from the beginning.
        follow_seconds: to read what came since the last look.
    """

    step: int
    memory_mib: float
    descriptors: int
    threads: int
    files: int
    metrics_bytes: int
    log_bytes: int
    other_bytes: int
    read_seconds: float
    follow_seconds: float


def look(run: RunDir, reader: MetricsReader, step: int) -> Look:
    process, started = psutil.Process(), time.monotonic()
    sum(1 for _ in MetricsReader(run.metrics).read_new().lines)
    read = time.monotonic() - started
    started = time.monotonic()
    sum(1 for _ in reader.read_new().lines)
    follow = time.monotonic() - started
    assert read_status(run) is not None
    # Of TensorBoard the number of files alone is bounded; its bytes grow as those of metrics do.
    files = [path for path in run.path.rglob("*") if path.is_file()]
    sizes = {path: path.stat().st_size for path in files if path.exists()}
    growing = sum(n for path, n in sizes.items() if run.tensorboard in path.parents)
    counted = sizes.get(run.metrics, 0) + sizes.get(run.log, 0) + growing
    return Look(
        step=step,
        memory_mib=round(process.memory_info().rss / 2**20, 1),
        descriptors=process.num_fds(),
        threads=process.num_threads(),
        files=len(files),
        metrics_bytes=sizes.get(run.metrics, 0),
        log_bytes=sizes.get(run.log, 0),
        other_bytes=sum(sizes.values()) - counted,
        read_seconds=round(read, 3),
        follow_seconds=round(follow, 3),
    )


class Rerun:
    """Takes real steps at first, then what the last of them left."""

    def __init__(self) -> None:
        self.taken = 0
        self.stage = 0
        self.last: Step | None = None

    def __call__(self, session: Session, batch: DomainBatch) -> Step:
        if session.stage.number != self.stage:
            self.stage, self.taken = session.stage.number, 0
        self.taken += 1
        if self.taken <= REAL_STEPS or self.last is None:
            self.last = take_step(session, batch)
        return self.last


def the_same(*arguments: Any, **keywords: Any) -> Generator[DomainBatch]:
    """Yield the first batch for ever."""
    batches = real_batches(*arguments, **keywords)
    batch = next(batches)
    batches.close()
    while True:
        yield batch


real_batches = launch.open_batches


def long_run(root: Path, *, steps: int) -> tuple[list[Look], float]:
    """Train for so many steps.

    Args:
        root: folder for data and run.
        steps: a tenth of them in stage 1.

    Returns:
        What was seen at ten looks, and the seconds it took.
    """
    data = root / "toystreets"
    write_toystreets(data, size=(64, 128), train=4, val=2, workers=0)
    config = load_config(
        "toystreets_smoke",
        [
            f"run.root={root}",
            "run.name=long",
            f"data.source.root={data}/urbansyn",
            f"data.target.root={data}/cityscapes",
            f"data.val.root={data}/cityscapes",
            "data.crop=[64, 128]",
            "data.short_sides=[64, 72]",
            "model.weights=null",
            "model.num_points=256",
            "method.score_threshold=0.07",
            f"training.stage1_steps={steps // 10}",
            f"training.stage2_steps={steps - steps // 10}",
            f"training.checkpoint_every={max(1, steps // 300)}",
            f"training.snapshot_every={max(1, steps // 600)}",
            "training.device=cpu",
            f"evaluation.every={max(1, steps // 20)}",
        ],
    )
    run, looks = RunDir(root / "long"), list[Look]()
    reader = MetricsReader(run.metrics)

    def watch(progress: loop.Progress) -> None:
        if progress.step % (steps // LOOKS) == 0 and not progress.message:
            looks.append(look(run, reader, progress.step))
            print(looks[-1], flush=True)

    started = time.monotonic()
    with (
        mock.patch.dict(MODEL_PRESETS, tiny=TINY_MINI),
        mock.patch.object(loop, "take_step", Rerun()),
        mock.patch.object(launch, "open_batches", the_same),
    ):
        outcome = launch.train(config, watch=watch)
    assert outcome.state == "finished"
    return looks, time.monotonic() - started


def faults(looks: list[Look]) -> list[str]:
    """Return what grew that should not; the second look is taken as the beginning."""
    first, last = looks[1], looks[-1]
    found = []
    if last.memory_mib > first.memory_mib + MORE_MIB:
        found.append(f"memory: {first.memory_mib} MiB became {last.memory_mib}")
    for name in ("descriptors", "threads"):
        if getattr(last, name) > getattr(first, name) + 3:  # one may be open at the moment
            found.append(f"{name}: {getattr(first, name)} became {getattr(last, name)}")
    # Evaluations are kept, each with its predictions: a handful of small files.
    if last.files > first.files + 6 * 2 * LOOKS:
        found.append(f"files: {first.files} became {last.files}")
    grown = [b.metrics_bytes - a.metrics_bytes for a, b in pairwise(looks[1:])]
    if max(grown) > 1.1 * grown[0]:
        found.append(f"bytes of metrics between two looks: {grown[0]} became {max(grown)}")
    return found


def summary(looks: list[Look], seconds: float) -> dict[str, Any]:
    return {
        "commit": current_commit(),
        "steps": looks[-1].step,
        "hours_at_0.3_s_a_step": round(looks[-1].step * STEP_SECONDS / 3600, 1),
        "seconds": round(seconds),
        "faults": faults(looks),
        "looks": [asdict(one) for one in looks],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--out", type=Path, required=True, help="report, as JSON")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uda4inst-long-") as root:
        looks, seconds = long_run(Path(root), steps=asked.steps)
    report = summary(looks, seconds)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.out, report)
    sys.exit(bool(report["faults"]))


if __name__ == "__main__":
    main()
