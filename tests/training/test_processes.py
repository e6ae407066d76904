"""Two real gloo processes on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.varying import VARYING_FIELDS

pytestmark = pytest.mark.e2e

DRIVER = Path(__file__).parents[1] / "support" / "one_of_two_trainers.py"


def run_two(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    out.mkdir(exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *launcher, str(DRIVER), str(out), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def ends(out: Path) -> list[dict[str, Any]]:
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def metrics(run: RunDir) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in VARYING_FIELDS} for line in lines]


def test_two_processes__end_with_the_same_weights_and_resume_to_the_bit(
    short_run: Callable[..., list[str]], tmp_path: Path
) -> None:
    shorter = ("training.stage1_steps=3", "training.stage2_steps=6", "training.checkpoint_every=6")
    overrides = short_run(tmp_path, "two", *shorter)
    done = run_two(tmp_path / "out", "train", "toystreets_smoke", *overrides)
    assert done.returncode == 0, done.stderr
    first, second = ends(tmp_path / "out")
    assert [
        k for k, v in first["student"].items() if not torch.equal(v, second["student"][k])
    ] == []
    # What made this worth testing: the processes differed in their pseudo-labels and pools.
    assert first["counts"] != second["counts"]
    assert first["pool"] != second["pool"]
    run = RunDir(tmp_path / "two")
    assert json.loads(run.status.read_text())["state"] == "finished"
    lines = metrics(run)
    assert [line["step"] for line in lines] == list(range(9))
    counted = [sum(line["pseudo_labels"].values()) for line in lines if line["stage"] == 2]
    assert counted == [a + b for a, b in zip(first["counts"], second["counts"], strict=True)]

    done = run_two(tmp_path / "resumed", "resume", str(run.path), "--from", "6", "--replace")
    assert done.returncode == 0, done.stderr
    for before, after in zip((first, second), ends(tmp_path / "resumed"), strict=True):
        changed = [
            k for k, v in before["student"].items() if not torch.equal(v, after["student"][k])
        ]
        assert changed == []
        assert before["pool"] == after["pool"]
    assert metrics(run) == lines


def test_two_processes__a_mistake_ends_both_with_its_message(
    short_run: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "two" / "checkpoints").mkdir(parents=True)
    done = run_two(tmp_path / "out", "train", "toystreets_smoke", *short_run(tmp_path, "two"))
    assert done.returncode != 0
    assert "error: run.name must be new, got 'two'" in done.stderr
