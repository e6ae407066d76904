"""All there is to measure on a GPU, in one command on a bare machine, within ten minutes.

    make gpu-wheels            # where there is a package index: what the bare machine lacks
    make gpu                   # on the machine with the GPU; needs no index
    python benchmarks/gpu.py --rehearse --out /tmp/gpu     # anywhere, small sizes, to try it out

It needs Python 3.12 with torch and transformers, and wheels/ for what is not there, which it
unpacks into OUT. It measures, one after another: the tests that need a GPU; the step of both stages
at the paper's setting by part, with its peak, as it is, with the deformable attention sampled in
Triton, and with checkpointing; the same step beside the plain loop of `transformers` and two
groups; then ToyStreets, with the steps of stage 1 and 2 that fit into what is left of the time.
Figures go into OUT/gpu.json and, but for a rehearsal, into the table of measured figures in
docs/gpu.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "wheels"
PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# What the tests and the trainer import beside torch and transformers.
NEEDED = (
    "accelerate",
    "beartype",
    "cv2",
    "jaxtyping",
    "matplotlib",
    "msgspec",
    "psutil",
    "pycocotools",
    "pydantic",
    "pytest",
    "rich",
    "safetensors",
    "scipy",
    "tensorboard",
    "torch",
    "transformers",
    "typer",
    "yaml",
)
GPU_TESTS = ("tests/data/stream", "tests/methods", "tests/models", "tests/ops", "tests/gpu")
PAPER = ["urbansyn_cityscapes"]
SMALL = ["toystreets_smoke", "data.crop=[64,128]"]
PAPER_STEP = ["--preset", "swin_l", "--size", "1024x1024", "--batch", "3", "--precision", "bf16"]
SMALL_STEP = ["--preset", "tiny", "--size", "64x128", "--batch", "2"]
# What is measured of the step: how it is told, and its settings.
STEPS = {
    "step": ("",),
    "step_triton": (", samples in Triton", "model.deformable_kernel=triton"),
    "step_checkpointed": (", checkpointed", "model.gradient_checkpointing=true"),
}
VARIANTS = ["library", "criterion", "source_only", "uda4inst", "two_groups"]
TOY_STAGE_1 = 1 / 3  # of the steps, as in the paper


class Machine:
    """Runs the parts within the time there is, and keeps what they say.

    Args:
        out: folder for logs and figures.
        minutes: for everything.
        rehearse: small sizes.
    """

    def __init__(self, out: Path, *, minutes: float, rehearse: bool) -> None:
        self.out = out
        self.rehearse = rehearse
        self.ends = time.monotonic() + 60 * minutes
        self.packages = out / "packages"
        self.environ = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.packages}",
            "HF_HUB_OFFLINE": "1",
        }
        self.figures: dict[str, Any] = {"rehearsal": rehearse}
        out.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.ends - time.monotonic()

    def run(self, name: str, command: Sequence[str], *, at_most: float) -> bool:
        """Run a part with its own log; whether it ended well in its time."""
        seconds = min(at_most, self.left)
        if seconds < 5:
            self.figures[name] = "no time left"
            return False
        log = self.out / f"{name}.log"
        started = time.monotonic()
        with log.open("w") as file:
            try:
                code = subprocess.run(
                    [sys.executable, *command],
                    cwd=ROOT,
                    env=self.environ,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=seconds,
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
        took = time.monotonic() - started
        said = (
            "ended well" if code == 0 else "ran out of time" if code == -1 else f"failed ({code})"
        )
        print(f"{name}: {said} after {took:.0f} s ({log})", flush=True)
        if code:
            lines = log.read_text(errors="replace").strip().splitlines()
            self.figures[name] = {"failed": lines[-1] if lines else said}
        return code == 0

    def environment(self) -> None:
        """Unpack the wheels that were brought along beside what this Python has.

        Raises:
            SystemExit: something is missing all the same.
        """
        if self.missing():
            for wheel in sorted(WHEELS.glob("*.whl")):
                with zipfile.ZipFile(wheel) as packed:
                    packed.extractall(self.packages)
        if missing := self.missing():
            sys.exit(
                f"This machine must have {', '.join(missing)}, which is not there. Run make "
                f"gpu-wheels where there is a package index, and bring {WHEELS} along."
            )

    def missing(self) -> list[str]:
        """Return the modules that cannot be imported."""
        code = "import importlib.util, sys; print(*[m for m in sys.argv[1:] if not "
        code += "importlib.util.find_spec(m)])"
        found = subprocess.run(
            [sys.executable, "-c", code, *NEEDED],
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.split()


def facts(machine: Machine, commit: str | None) -> Mapping[str, str]:
    """Return what was measured on, at a commit; None for what git says."""
    code = (
        "import json, platform, torch, transformers; on = torch.cuda.is_available(); "
        "print(json.dumps(dict(device=torch.cuda.get_device_name() if on else 'CPU', "
        "torch=torch.__version__, cuda=str(torch.version.cuda), "
        "transformers=transformers.__version__, python=platform.python_version())))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=machine.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    if commit is None:
        said = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        )
        commit = said.stdout.strip() or "unknown"
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {**json.loads(told.stdout), "commit": commit, "when": when}


def tests(machine: Machine) -> None:
    """Run the tests that need a GPU."""
    # A bare machine need not know the timeout that pyproject.toml sets.
    chosen = ["-m", "pytest", "-q", "-m", "gpu", "-W", "ignore::pytest.PytestConfigWarning"]
    if machine.rehearse:  # none of these can run without a GPU: try that the tests are found
        chosen = [*chosen, "--collect-only"]
    if machine.run("tests", [*chosen, *GPU_TESTS], at_most=150):
        lines = (machine.out / "tests.log").read_text().strip().splitlines()
        machine.figures["tests"] = lines[-1]


def steps(machine: Machine) -> None:
    """Measure the trainer's step by part, each way it can be done."""
    setting = SMALL if machine.rehearse else PAPER
    rounds = ["--rounds", "2", "--warmup", "1"] if machine.rehearse else []
    for name, (_, *more) in STEPS.items():
        file = machine.out / f"{name}.json"
        command = ["benchmarks/gpu_step.py", *setting, *more, *rounds, "--json", str(file)]
        if machine.run(name, command, at_most=120):
            machine.figures[name] = json.loads(file.read_text())


def beside_the_library(machine: Machine) -> None:
    """Measure the step beside the plain loop of `transformers`, and two groups."""
    setting = SMALL_STEP if machine.rehearse else PAPER_STEP
    rounds = ["--rounds", "2" if machine.rehearse else "8", "--warmup", "2"]
    command = ["benchmarks/step.py", *setting, *rounds, "--variants", *VARIANTS]
    if machine.run("beside_the_library", command, at_most=150):
        text = (machine.out / "beside_the_library.log").read_text().strip()
        machine.figures["beside_the_library"] = text.splitlines()


def toystreets(machine: Machine) -> None:
    """Train ToyStreets for as long as is left, and evaluate."""
    data, runs = machine.out / "toystreets", machine.out / "runs"
    train = ["-m", "uda4inst.cli", "train", "toystreets_full", f"run.root={runs}"]
    train += [f"data.{part}.root={data}/{tree}" for part, tree in TREES.items()]
    train += ["data.workers=0"] if machine.rehearse else ["data.workers=8"]
    if not machine.run(
        "toystreets_data", ["-m", "uda4inst.cli", "data", "toystreets", str(data)], at_most=120
    ):
        return
    few = [10, 10]
    settings = ["optim.warmup_steps=5", "evaluation.limit=2", "training.snapshot_every=0"]
    if not machine.run("toystreets_pace", [*train, *_lengths("pace", few), *settings], at_most=120):
        return
    pace = _seconds_a_step(runs / "pace" / "metrics.jsonl")
    # Two evaluations of 100 images and the start take their time too.
    count = 20 if machine.rehearse else int(max(60.0, machine.left - 60) / pace)
    stage1 = int(count * TOY_STAGE_1)
    lengths = _lengths("toystreets", [stage1, count - stage1])
    warmup = [f"optim.warmup_steps={min(1500, max(1, stage1 // 5))}"]
    limit = ["evaluation.limit=4"] if machine.rehearse else []
    if machine.run("toystreets", [*train, *lengths, *warmup, *limit], at_most=600):
        machine.figures["toystreets"] = {
            "steps": [stage1, count - stage1],
            "seconds_a_step": _seconds_a_step(runs / "toystreets" / "metrics.jsonl"),
            "evaluations": [
                json.loads(path.read_text())
                for path in sorted((runs / "toystreets" / "evaluation").glob("*.json"))
            ],
        }


TREES = {"source": "urbansyn", "target": "cityscapes", "val": "cityscapes"}


def _lengths(name: str, counts: Sequence[int]) -> list[str]:
    stage1, stage2 = counts
    return [
        f"run.name={name}",
        f"training.stage1_steps={stage1}",
        f"training.stage2_steps={stage2}",
        "method.score_threshold=0.8",
    ]


def _seconds_a_step(metrics: Path) -> float:
    """Return the time of a stage-2 step, from the clock of the run's metrics."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    times = [line["time"] for line in lines if line["stage"] == 2]
    return (times[-1] - times[0]) / max(1, len(times) - 1)


def table(figures: Mapping[str, Any]) -> str:
    """Return the measured figures as Markdown."""
    told = figures["facts"]
    rows = [
        f"Measured {told['when']} at commit {told['commit']} by `make gpu`: {told['device']}, "
        f"torch {told['torch']} (CUDA {told['cuda']}), transformers {told['transformers']}, "
        f"Python {told['python']}.",
        "",
        "| step | ms | prepare | forward and losses | backward | update | peak GiB | estimated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (told_as, *_) in STEPS.items():
        found = figures.get(name)
        if not isinstance(found, list):
            rows.append(f"| {name} | {_failure(found)} | | | | | | |")
            continue
        for one in found:
            parts = " | ".join(f"{value:.0f}" for value in one["parts_ms"].values())
            estimated = one["estimated_gib"]
            rows.append(
                f"| stage {one['stage']}{told_as} | "
                f"{one['ms']:.0f} | {parts} | {one['peak_gib']:.1f} | "
                f"{'-' if estimated is None else format(estimated, '.1f')} |"
            )
    beside = figures.get("beside_the_library")
    lines = beside if isinstance(beside, list) else [_failure(beside)]
    rows += ["", "Beside the plain loop of `transformers`:", "", "```", *lines, "```", ""]
    rows.append(f"Tests that need a GPU: {figures.get('tests')}.")
    rows.append(f"ToyStreets: {_toy(figures.get('toystreets'))}")
    return "\n".join(rows)


def _failure(found: Any) -> str:
    return f"failed: {found['failed']}" if isinstance(found, dict) else str(found)


def _toy(found: Any) -> str:
    """Return one sentence about the training."""
    if not isinstance(found, dict) or "evaluations" not in found:
        return f"{_failure(found)}."
    last = found["evaluations"][-1]
    scores = "; ".join(
        f"{network} {protocol} AP {100 * (values['AP'] or 0):.1f}"
        for network, result in last["results"].items()
        for protocol, values in result.items()
    )
    return (
        f"{found['steps'][0]} + {found['steps'][1]} steps, {1e3 * found['seconds_a_step']:.0f} ms "
        f"each in stage 2; on {last['images']} images of {last['split']}: {scores}."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--minutes", type=float, default=9.5)
    parser.add_argument("--rehearse", action="store_true", help="small sizes, on any machine")
    parser.add_argument("--commit", help="of this code, where the copy's history does not say")
    options = parser.parse_args(arguments)
    machine = Machine(options.out.resolve(), minutes=options.minutes, rehearse=options.rehearse)
    machine.environment()
    machine.figures["facts"] = facts(machine, options.commit)
    if not options.rehearse and machine.figures["facts"]["device"] == "CPU":
        sys.exit("There must be a GPU, and torch finds none. --rehearse tries small sizes without.")
    for part in (tests, steps, beside_the_library, toystreets):
        part(machine)
        (machine.out / "gpu.json").write_text(json.dumps(machine.figures, indent=1) + "\n")
    measured = table(machine.figures)
    (machine.out / "gpu.md").write_text(measured + "\n")
    if not options.rehearse:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{measured}\n{END}{after}")
    print(measured)


if __name__ == "__main__":
    main()
