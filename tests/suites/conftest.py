"""A trainer that writes what the real one writes, in a tenth of a second."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from uda4inst.classes import THING_NAMES
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.expand import Expansion, cells_of, expand
from uda4inst.suites.folder import SuiteFolder, suite_folder
from uda4inst.suites.scales import load_scales

FAKE_TRAINER = """
import json, os, signal, socket, sys, time
from pathlib import Path

import yaml

command, place = sys.argv[1:3]
source = Path(place) / "config.yaml" if command == "resume" else Path(place)
config = yaml.safe_load(source.read_text())
run = Path(config["run"]["root"]) / config["run"]["name"]
with open("calls.txt", "a") as calls:
    threads, gpu = os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES")
    calls.write(f"{command} {run.name} {threads} {gpu}\\n")
asked = Path("behaviour.json")
behaviour = json.loads(asked.read_text()) if asked.exists() else {}
if run.name in behaviour.get("refused", []):
    sys.exit("some words before\\nerror: the data is gone\\nin two lines")
run.mkdir(parents=True, exist_ok=True)
(run / "evaluation").mkdir(exist_ok=True)
if command == "train":
    (run / "config.yaml").write_text(source.read_text())
status = {"state": "running", "step": 0, "steps": 3, "pid": os.getpid(), "message": "",
          "host": socket.gethostname(), "heartbeat": time.time(), "error": None}
if (run / "status.json").exists():
    status["step"] = json.loads((run / "status.json").read_text())["step"]

def write(**fields):
    status.update(fields, heartbeat=time.time())
    (run / ".tmp").write_text(json.dumps(status))
    (run / ".tmp").replace(run / "status.json")

def stop(number, frame):
    write(state="stopped")
    sys.exit(128 + number)

signal.signal(signal.SIGTERM, stop)
write()
while status["step"] < 3:
    if run.name in behaviour.get("slow", []):
        time.sleep(0.05 if status["step"] == 0 else 60)
    write(step=status["step"] + 1)
if run.name in behaviour.get("failing", []):
    write(state="failed", error="loss must be finite")
    sys.exit("error: loss must be finite")
one = {"AP": 0.1, "AP50": 0.2, "per_class": {"person": {"AP": 0.1, "AP50": 0.2}}}
results = {"student": {"cityscapes": one, "coco": one}}
(run / "evaluation" / "00000003.json").write_text(json.dumps(
    {"step": 3, "config_hash": "f" * 12, "dataset": "toy", "split": "val", "images": 1,
     "results": results}))
write(state="finished")
"""


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Return the command line of the fake trainer; the working directory is an empty folder."""
    script = tmp_path / "fake_trainer.py"
    script.write_text(FAKE_TRAINER)
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return sys.executable, str(script)


Expand = Callable[..., tuple[SuiteFolder, Expansion]]


@pytest.fixture
def expanded(tmp_path: Path) -> Expand:
    """Expand a suite into a folder of the test."""

    def make(
        name: str,
        *overrides: str,
        scale: str = "smoke",
        seeds: tuple[int, ...] = (0,),
        rows: tuple[str, ...] = (),
    ) -> tuple[SuiteFolder, Expansion]:
        folder = suite_folder(tmp_path / "suites", name, scale)
        size = load_scales()[scale]
        expansion = expand(
            SUITES[name],
            size,
            cells_of(size, seeds),
            root=folder.runs.resolve(),
            overrides=overrides,
            rows=rows,
        )
        return folder, expansion

    return make


def evaluation(ap: float, *, name: str) -> dict[str, object]:
    """Return a hand-made evaluation, per cent in: classes ap, ap + 1, ..., no trains.

    AP50 is twice AP; COCO is one more than Cityscapes, the teacher two more than the student.
    """

    def part(value: float) -> dict[str, float]:
        return {"AP": value / 100, "AP50": 2 * value / 100}

    def protocol(value: float) -> dict[str, object]:
        by_class = {name: part(value + i) for i, name in enumerate(THING_NAMES)}
        return {**part(value), "per_class": {**by_class, "train": None}}

    def network(value: float) -> dict[str, object]:
        coco = protocol(value)
        coco["AP50"] = (2 * value + 1) / 100
        return {"cityscapes": protocol(value), "coco": coco}

    results = {"student": network(ap)}
    if not name.startswith(("m1", "m2", "oracle")):
        results["teacher"] = network(ap + 2)
    return {
        "step": 9,
        "config_hash": f"hash-{name}",
        "dataset": "Cityscapes (toy)",
        "split": "val",
        "images": 100,
        "images_there": 100,
        "image_names": "0" * 16,
        "results": results,
    }


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[..., Path]:
    """Write a suite's folder with finished runs of given AP (student, Cityscapes, per cent)."""

    def write(
        suite: str,
        values: Mapping[str, Mapping[int, float]],
        *,
        seeds: Sequence[int] = (0,),
        scale: str = "toy",
    ) -> Path:
        folder = tmp_path / f"{suite}-{scale}"
        folder.mkdir()
        description = {
            "suite": suite,
            "scale": scale,
            "seeds": list(seeds),
            "command": ["uda4inst", "suite", suite],
        }
        (folder / "suite.yaml").write_text(yaml.safe_dump(description))
        lines = []
        for key, by_seed in values.items():
            for seed, ap in by_seed.items():
                run = folder / "runs" / f"{key}-seed{seed}"
                (run / "evaluation").mkdir(parents=True)
                (run / "config.yaml").touch()
                (run / "status.json").write_text(json.dumps({"state": "finished", "step": 9}))
                command = {
                    "commit": "abc1",
                    "time": "2026-11-21T10:00:00+0000",
                    "resumed": [{"commit": "abc2"}],
                }
                (run / "command.json").write_text(json.dumps(command))
                record = evaluation(ap, name=f"{key}-{seed}")
                (run / "evaluation" / "00000009.json").write_text(json.dumps(record))
                done = {"run": run.name, "end": "finished", "hardware": "a machine, 2 cores"}
                lines.append(json.dumps(done))
        (folder / "records.jsonl").write_text("\n".join(lines))
        return folder

    return write
