"""The demo preset over methods and seeds: does adaptation help on ToyStreets, and by how much?

    python benchmarks/demo_study.py --out build/study --seeds 0,1,2 --jobs 2
    python benchmarks/demo_study.py --out build/study --seeds 0,1,2 --table

Each run is the preset from the command line with another method and seed, nothing else. Finished
runs are not repeated. The table reads the last evaluation of every run (the last checkpoint; no
selection) and reports mean and range over seeds, per protocol, student and teacher.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from uda4inst.run_folder.checkpoints import latest_step
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.start import TRAINER, resume_arguments
from uda4inst.run_folder.status import is_finished

METHODS = ("source_only", "uda4inst", "oracle")
PROTOCOLS = ("cityscapes", "coco")


@dataclass(frozen=True)
class Job:
    """One run of the study."""

    method: str
    seed: int
    root: Path
    overrides: tuple[str, ...]

    @property
    def run(self) -> RunDir:
        """Where the run lies."""
        return RunDir(self.root / f"{self.method}-{self.seed}")


def execute(job: Job, preset: str, threads: int) -> tuple[Job, float]:
    """Train one run in a process of its own; return its seconds."""
    if is_finished(job.run):
        return job, 0.0
    started = time.time()
    command = list(TRAINER)
    if latest_step(job.run.checkpoints) is not None:
        command += resume_arguments(job.run)
    else:
        command += ["train", preset, f"run.root={job.root}", f"run.name={job.run.name}"]
        command += [f"method.name={job.method}", f"seed={job.seed}", *job.overrides]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return job, time.time() - started


def evaluations(folder: Path) -> list[dict]:
    """Return the evaluations of a run, first to last."""
    paths = sorted((folder / "evaluation").glob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def table(root: Path, methods: list[str], seeds: list[int]) -> str:
    """Return the study's table as Markdown, values in per cent."""
    lines = [
        "| method | network | Cityscapes AP | AP50 | COCO AP | AP50 | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in methods:
        found = [evaluations(root / f"{method}-{seed}") for seed in seeds]
        found = [evaluation for evaluation in found if evaluation]
        if not found:
            continue
        if method == "uda4inst":
            lines.append(_row("uda4inst, after stage 1", "student", [e[0] for e in found]))
        for network in ("student", "teacher"):
            last = [e[-1] for e in found]
            if all(network in e["results"] for e in last):
                lines.append(_row(method, network, last))
    return "\n".join(lines)


def _row(name: str, network: str, results: list[dict]) -> str:
    cells = []
    for protocol in PROTOCOLS:
        for measure in ("AP", "AP50"):
            values = [100 * r["results"][network][protocol][measure] for r in results]
            cells.append(f"{mean(values):.1f} ({min(values):.1f}-{max(values):.1f})")
    return f"| {name} | {network} | {' | '.join(cells)} | {len(results)} |"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/study"))
    parser.add_argument("--preset", default="toystreets_demo")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each if > 1")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("overrides", nargs="*", help="key=value for every run")
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    if not arguments.table:
        threads = arguments.threads or (1 if arguments.jobs > 1 else os.cpu_count() or 1)
        jobs = [
            Job(method, seed, arguments.out, tuple(arguments.overrides))
            for seed in seeds
            for method in methods
        ]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            runs = pool.map(lambda job: execute(job, arguments.preset, threads), jobs)
            for job, seconds in runs:
                print(f"{job.run.name}: {seconds:.0f} s", flush=True)
    print(table(arguments.out, methods, seeds))


if __name__ == "__main__":
    main()
