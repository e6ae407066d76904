"""Two real gloo processes on the CPU."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
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


def start_two(place: Path, overrides: list[str]) -> list[subprocess.Popen[str]]:
    """Start two processes of one training with nobody above them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place.mkdir()
    return [
        subprocess.Popen(
            [sys.executable, str(DRIVER), str(place), "train", "toystreets_smoke", *overrides],
            env=os.environ
            | {
                "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": "2",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]


@pytest.mark.parametrize(
    ("number", "lost", "words"),
    [
        pytest.param(signal.SIGKILL, 0, "got a broken connection", id="killed-first"),
        pytest.param(signal.SIGKILL, 1, "got a broken connection", id="killed-second"),
        pytest.param(signal.SIGSTOP, 0, "store must answer, got nothing", id="stopped-first"),
        pytest.param(signal.SIGSTOP, 1, "got no sign of process 1 for 40 s", id="stopped-second"),
    ],
)
def test_two_processes__one_is_lost_and_the_other_ends_within_a_minute(
    short_run: Callable[..., list[str]],
    tmp_path: Path,
    number: signal.Signals,
    lost: int,
    words: str,
) -> None:
    run = RunDir(tmp_path / "two")
    pair = start_two(tmp_path / "out", short_run(tmp_path, "two", "training.stage2_steps=100000"))
    try:
        while not run.metrics.exists() or run.metrics.read_bytes().count(b"\n") < 12:
            assert pair[0].poll() is None, pair[0].communicate()[1]
            time.sleep(0.05)
        pair[lost].send_signal(number)
        other = pair[1 - lost]
        said = other.communicate(timeout=60)[1]
    finally:
        for process in pair:
            process.kill()
            process.communicate()
    assert other.returncode in (1, 2), said
    (message,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert words in message
    assert "Traceback" not in said
    if lost == 1:
        assert json.loads(run.status.read_text())["error"] == message.removeprefix("error: ")
