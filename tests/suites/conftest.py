"""A trainer that writes what the real one writes, in a tenth of a second."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from uda4inst.suites.definition import SUITES
from uda4inst.suites.expand import Expansion, expand
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
        name: str, *overrides: str, scale: str = "smoke", seeds: tuple[int, ...] = (0,)
    ) -> tuple[SuiteFolder, Expansion]:
        folder = suite_folder(tmp_path / "suites", name, scale)
        expansion = expand(
            SUITES[name],
            load_scales()[scale],
            seeds,
            root=folder.runs.resolve(),
            overrides=overrides,
        )
        return folder, expansion

    return make
