"""Whether this tree trains and judges to the bit as another version of the project does.

python benchmarks/equality.py [--commit 2bd169c | --against CHECKOUT | --reference RUNS]

Two smoke runs, one network for all classes (`smoke`) and one for each of two category groups
(`groups`), are trained by both trees in processes of their own, with the same interpreter and
data. One line a comparison: the last tensors of student and teacher, every number of every line
of metrics.jsonl, every digit of the evaluations. Exit code 1 on any difference. Both sides must
come from one machine: another processor rounds otherwise.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parents[1]
# What each run is given beside the preset.
RUNS = {"smoke": (), "groups": ("method.groups=two",)}
# What depends on the machine and the moment, not on the code's arithmetic.
VARYING = ("time", "images_per_second", "memory_mib")
# Without these a line says nothing; other numbers are compared where both trees write them.
REQUIRED = ("step", "stage", "loss", "losses", "lr", "grad_norm")


class Comparison(NamedTuple):
    """One thing held against the other tree's; no difference, no text."""

    what: str
    difference: str


def main() -> int:
    """Train, compare, print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--commit", default="2bd169c", help="of this repository")
    other.add_argument("--against", type=Path, help="a checkout of the other version")
    other.add_argument("--reference", type=Path, help="its finished runs: smoke and groups")
    parser.add_argument("--data", type=Path, default="data/toystreets", help="made if missing")
    parser.add_argument("--runs", type=Path, help="new folder to keep the runs in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uda4inst-equality-") as temporary:
        runs = (options.runs or Path(temporary) / "runs").resolve()
        data = options.data.resolve()
        if not data.is_dir():
            call(HERE, "data", "toystreets", str(data))
        if options.reference:
            reference = options.reference.resolve()
            check_runs(reference)
        else:
            tree = options.against or unpack(options.commit, Path(temporary) / "tree")
            reference = train(tree.resolve(), runs / "other", data)
        ours = train(HERE, runs / "this", data)
        found = [c for name in RUNS for c in compare_runs(ours / name, reference / name, name)]
    for what, difference in found:
        print(f"{'DIFFERENT' if difference else 'equal':9}  {what}: {difference or 'to the bit'}")
    differing = sum(bool(c.difference) for c in found)
    print(f"{len(found) - differing} of {len(found)} comparisons are equal")
    return 1 if differing else 0


def check_runs(folder: Path) -> None:
    """Exit where a folder does not hold the runs."""
    if not all((folder / name / "status.json").is_file() for name in RUNS):
        raise SystemExit(f"error: --reference must hold the runs {', '.join(RUNS)}: {folder}")


def unpack(commit: str, folder: Path) -> Path:
    """Write the files of a commit of this repository into a new folder and return it."""
    command = ["git", "-C", str(HERE), "archive", commit]
    packed = subprocess.run(command, capture_output=True, check=False)
    if packed.returncode:
        raise SystemExit(
            f"error: --commit must be in this repository, got {commit!r} "
            f"({packed.stderr.decode().strip()}). Fetch it, or give --against or --reference."
        )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def train(tree: Path, runs: Path, data: Path) -> Path:
    """Train the runs with the code of a tree and return their folder."""
    # Paths are settings too: both trees get the same ones, relative to the data's folder.
    roots = [
        f"data.{part}.root={data.name}/{kind}"
        for part, kind in (("source", "urbansyn"), ("target", "cityscapes"), ("val", "cityscapes"))
    ]
    for name, settings in RUNS.items():
        print(f"training {name} with {tree}", file=sys.stderr)
        fixed = (f"run.root={runs}", f"run.name={name}", "training.tensorboard_every=0")
        call(tree, "train", "toystreets_smoke", *fixed, *settings, *roots, cwd=data.parent)
    return runs


def call(tree: Path, *arguments: str, cwd: Path = HERE) -> None:
    """Run a tree's command line; its words are shown only if it fails."""
    # -P: the working directory must not shadow the tree.
    python = [sys.executable, "-P"]
    environment = os.environ | {"PYTHONPATH": str(tree), "HF_HUB_OFFLINE": "1"}
    where = "import uda4inst; print(uda4inst.__file__)"
    kept: dict[str, Any] = {"env": environment, "cwd": cwd, "capture_output": True, "text": True}
    imported = subprocess.run([*python, "-c", where], check=False, **kept)
    if imported.returncode or tree not in Path(imported.stdout.strip()).parents:
        raise SystemExit(
            f"error: {tree} must be a checkout of the project, got {imported.stdout.strip()} "
            f"when uda4inst was imported. {imported.stderr}"
        )
    done = subprocess.run([*python, "-m", "uda4inst.cli", *arguments], check=False, **kept)
    if done.returncode:
        raise SystemExit(
            f"error: uda4inst {' '.join(arguments)} of {tree} exited with {done.returncode}:\n"
            f"{done.stderr}"
        )


def compare_runs(ours: Path, theirs: Path, name: str) -> Iterator[Comparison]:
    """Yield every comparison of two run folders, and of the modules of category groups in them."""
    modules = [sorted(p.name for p in run.glob("modules/*")) for run in (ours, theirs)]
    if modules[0] != modules[1]:
        yield Comparison(f"{name}, its modules", f"{modules[0]} and {modules[1]}")
        return
    if not modules[0]:
        yield from compare_tensors(ours, theirs, name)
        yield compare_metrics(ours, theirs, name)
    yield from compare_evaluations(ours, theirs, name)
    for module in modules[0]:
        parts = (run / "modules" / module for run in (ours, theirs))
        yield from compare_runs(*parts, f"{name}/{module}")


def compare_tensors(ours: Path, theirs: Path, name: str) -> Iterator[Comparison]:
    """Yield how the networks of the last checkpoints compare."""
    places = [
        r / "checkpoints" / (r / "checkpoints/latest").read_text().strip() for r in (ours, theirs)
    ]
    if places[0].name != places[1].name:
        yield Comparison(f"{name}, last checkpoint", " and ".join(p.name for p in places))
        return
    for network in ("student", "teacher"):
        one, other = (load_file(place / f"{network}.safetensors") for place in places)
        unequal = [
            key
            for key in sorted(one.keys() | other.keys())
            if key not in one
            or key not in other
            or (one[key].dtype, one[key].shape) != (other[key].dtype, other[key].shape)
            or one[key].tobytes() != other[key].tobytes()
        ]
        what = f"{name}, {network} of step {int(places[0].name)}, {len(one)} tensors"
        yield Comparison(what, f"{len(unequal)} differ, first {unequal[0]}" if unequal else "")


def compare_metrics(ours: Path, theirs: Path, name: str) -> Comparison:
    """Return how the lines of metrics.jsonl compare, all but speed, memory and the clock."""
    one, other = (
        [json.loads(line) for line in (run / "metrics.jsonl").open()] for run in (ours, theirs)
    )
    difference = "" if len(one) == len(other) else f"{len(one)} and {len(other)} lines"
    for line, reference in zip(one, other, strict=False):
        fields = {*REQUIRED, *(line.keys() & reference.keys())} - {*VARYING}
        unequal = [f for f in sorted(fields) if line.get(f) != reference.get(f) or f not in line]
        if unequal:
            values = f"{line.get(unequal[0])} and {reference.get(unequal[0])}"
            difference = difference or f"step {line['step']}: {unequal[0]} is {values}"
    return Comparison(f"{name}, metrics, {len(one)} lines", difference)


def compare_evaluations(ours: Path, theirs: Path, name: str) -> Iterator[Comparison]:
    """Yield how the evaluations compare, of every step that either side judged."""
    files = {p.name for run in (ours, theirs) for p in run.glob("evaluation/*.json")}
    if not files:
        yield Comparison(f"{name}, evaluation", "neither side has one")
    for file in sorted(files):
        records = [
            json.loads(path.read_text()) if (path := run / "evaluation" / file).is_file() else {}
            for run in (ours, theirs)
        ]
        kept = [{k: r.get(k) for k in ("step", "images", "results")} for r in records]
        unequal = [key for key in kept[0] if kept[0][key] != kept[1][key]]
        yield Comparison(f"{name}, evaluation of step {int(file[:-5])}", ", ".join(unequal))


if __name__ == "__main__":
    sys.exit(main())
