from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from uda4inst.run_folder.layout import create_run
from uda4inst.suites.engines import LocalEngine
from uda4inst.suites.expand import Expansion
from uda4inst.suites.folder import SuiteFolder, read_records
from uda4inst.suites.runner import SuiteOutcome, SuiteProgress, run_suite
from uda4inst.training.config import to_yaml

Expand = Callable[..., tuple[SuiteFolder, Expansion]]
Trainer = tuple[str, ...]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uda4inst.suites.runner.POLL_SECONDS", 0.01)
    monkeypatch.setattr("uda4inst.suites.runner.current_commit", lambda: "abc")


def behave(**names: list[str]) -> None:
    Path("behaviour.json").write_text(json.dumps(names))


def calls() -> list[str]:
    """Return what the trainers were called for, and forget it."""
    path = Path("calls.txt")
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [" ".join(line.split()[:2]) for line in lines]


def state(folder: SuiteFolder, name: str) -> str:
    return json.loads(folder.run(name).status.read_text())["state"]


def run(
    folder: SuiteFolder, expansion: Expansion, trainer: Trainer, *, at_once: int = 1
) -> SuiteOutcome:
    return run_suite(folder, expansion, LocalEngine(at_once=at_once), trainer=trainer)


def test_run_suite__trains_everything_once(trainer: Trainer, expanded: Expand) -> None:
    folder, expansion = expanded("table2")
    outcome = run(folder, expansion, trainer)
    assert outcome.is_good
    assert set(outcome.ends.values()) == {"finished"}
    assert calls() == [f"train {spec.name}" for spec in expansion.runs]
    again = run(folder, expansion, trainer)
    assert again.is_good
    assert set(again.ends.values()) == {"skipped"}
    assert calls() == []


def test_run_suite__records_when_and_where(trainer: Trainer, expanded: Expand) -> None:
    folder, expansion = expanded("table2")
    run(folder, expansion, trainer)
    records = read_records(folder)
    assert list(records) == [spec.name for spec in expansion.runs]
    (record,) = records["both-seed0"]
    assert record["end"] == "finished"
    assert "cores" in record["hardware"]
    assert record["command"][0] == "uda4inst"
    assert record["seconds"] >= 0


def test_run_suite__another_seed_is_added(trainer: Trainer, expanded: Expand) -> None:
    run(*expanded("table2"), trainer)
    calls()
    folder, expansion = expanded("table2", seeds=(0, 1))
    assert run(folder, expansion, trainer).is_good
    assert calls() == [f"train {spec.name}" for spec in expansion.runs if spec.cell.seed == 1]


def test_run_suite__stage_1_is_not_needed_any_more(trainer: Trainer, expanded: Expand) -> None:
    folder, expansion = expanded("table2")
    run(folder, expansion, trainer)
    stage1 = folder.run(expansion.runs[0].name)
    stage1.status.unlink()
    calls()
    assert run(folder, expansion, trainer).is_good
    assert calls() == []


def test_run_suite__a_failing_run_stops_no_other(trainer: Trainer, expanded: Expand) -> None:
    behave(failing=["t2s-seed0"], refused=["s2t-seed0"])
    folder, expansion = expanded("table2")
    outcome = run(folder, expansion, trainer)
    assert not outcome.is_good
    assert outcome.errors == {
        "t2s-seed0": "loss must be finite",
        "s2t-seed0": "the data is gone\nin two lines",
    }
    assert [outcome.ends[n] for n in ("none-seed0", "both-seed0", "oracle-seed0")] == [
        "finished"
    ] * 3
    calls()
    behave()
    assert run(folder, expansion, trainer).is_good
    assert calls() == ["resume t2s-seed0", "train s2t-seed0"]


def test_run_suite__rows_of_a_failed_stage_1_are_blocked(
    trainer: Trainer, expanded: Expand
) -> None:
    folder, expansion = expanded("table5")
    stage1 = next(spec.stage1 for spec in expansion.runs if spec.row == "m2")
    behave(failing=[stage1])
    outcome = run(folder, expansion, trainer)
    blocked = [name for name, end in outcome.ends.items() if end == "blocked"]
    assert blocked == ["m2-seed0", "m4-seed0", "m5-seed0"]
    assert outcome.errors["m4-seed0"] == f"its stage 1, {stage1}, is not finished"
    assert outcome.ends["m3-seed0"] == outcome.ends["oracle-seed0"] == "finished"


def test_run_suite__goes_on_with_a_killed_run(trainer: Trainer, expanded: Expand) -> None:
    folder, expansion = expanded("table2")
    for spec in expansion.runs[:2]:
        create_run(folder.run(spec.name), config_yaml=to_yaml(spec.config))
    killed = {"state": "running", "step": 2, "pid": 2**22 + 1, "host": "vm", "heartbeat": 0}
    folder.run(expansion.runs[0].name).status.write_text(json.dumps(killed))
    # Killed before its configuration was written.
    folder.run("t2s-seed0").checkpoints.mkdir(parents=True)
    assert run(folder, expansion, trainer).is_good
    first, second, *others = [spec.name for spec in expansion.runs]
    assert calls() == [f"resume {first}", f"resume {second}", *(f"train {n}" for n in others)]


def test_run_suite__as_many_at_once_as_asked(
    trainer: Trainer, expanded: Expand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    folder, expansion = expanded("table2")
    seen: list[SuiteProgress] = []
    engine = LocalEngine()
    run_suite(folder, expansion, engine, watch=seen.append, trainer=trainer)
    assert max(len(progress.running) for progress in seen) == engine.slots == 2
    assert seen[-1].done == seen[-1].runs == 6
    lines = Path("calls.txt").read_text().splitlines()
    assert {line.split()[2] for line in lines} == {"4"}
    assert {line.split()[3] for line in lines} == {"3", "5"}


def test_run_suite__waits_for_a_trainer_that_outlived_a_suite(
    trainer: Trainer, expanded: Expand
) -> None:
    folder, expansion = expanded("table2")
    first = expansion.runs[0]
    behave(slow=[first.name])
    config = Path("config.yaml")
    config.write_text(to_yaml(first.config))
    survivor = subprocess.Popen([*trainer, "train", str(config)])
    status = folder.run(first.name).status
    while not status.exists() or json.loads(status.read_text())["step"] < 1:
        time.sleep(0.02)
    reaper = threading.Timer(0.3, lambda: (survivor.terminate(), survivor.wait()))
    reaper.start()
    outcome = run(folder, expansion, trainer)
    reaper.join()
    assert outcome.ends[first.name] == "stopped"
    assert calls() == [f"train {first.name}", "train oracle-seed0"]


SCRIPT = """
import sys
from pathlib import Path
from uda4inst.suites import runner
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.engines import LocalEngine
from uda4inst.suites.definition import Cell
from uda4inst.suites.expand import expand
from uda4inst.suites.folder import suite_folder
from uda4inst.suites.scales import find_scale

folder = suite_folder(Path(sys.argv[1]), "table2", "smoke")
runs = expand(SUITES["table2"], find_scale("smoke"), [Cell(None, 0)], root=folder.runs.resolve())
outcome = runner.run_suite(folder, runs, LocalEngine(at_once=2), trainer=sys.argv[2:])
print(sorted(outcome.ends.items()), outcome.signal)
"""


@pytest.fixture
def suite_process(
    trainer: Trainer, expanded: Expand, tmp_path: Path
) -> tuple[subprocess.Popen[str], SuiteFolder]:
    """Return a suite in a process of its own, with two slow trainers at work."""
    folder, _ = expanded("table2")
    behave(slow=["t2s-seed0", "s2t-seed0", "none-seed0"])
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "suites"), *trainer],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.time() + 60
    waited = [folder.run(name).status for name in ("none-seed0", "t2s-seed0")]
    while time.time() < deadline and not all(path.exists() for path in waited):
        time.sleep(0.05)
    return process, folder


@pytest.mark.slow
def test_run_suite__sigterm_stops_the_trainers_gently(
    suite_process: tuple[subprocess.Popen[str], SuiteFolder], trainer: Trainer, expanded: Expand
) -> None:
    process, folder = suite_process
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "('none-seed0', 'stopped')" in out
    assert "('s2t-seed0', 'waiting')" in out
    assert out.strip().endswith(str(int(signal.SIGTERM)))
    assert state(folder, "none-seed0") == state(folder, "t2s-seed0") == "stopped"
    calls()
    behave()
    assert run(folder, expanded("table2")[1], trainer).is_good
    assert calls()[:2] == ["resume none-seed0", "resume t2s-seed0"]


@pytest.mark.slow
def test_run_suite__goes_on_after_a_kill(
    suite_process: tuple[subprocess.Popen[str], SuiteFolder], trainer: Trainer, expanded: Expand
) -> None:
    process, folder = suite_process
    process.kill()
    process.communicate()
    for name in ("none-seed0", "t2s-seed0"):
        os.kill(json.loads(folder.run(name).status.read_text())["pid"], signal.SIGKILL)
    calls()
    behave()
    assert run(folder, expanded("table2")[1], trainer).is_good
    resumed = [call for call in calls() if call.startswith("resume")]
    assert resumed == ["resume none-seed0", "resume t2s-seed0"]
