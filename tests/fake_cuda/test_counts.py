"""What the paper's setting takes, counted: within its aims, and as is estimated before a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_cuda import library

from uda4inst.training.config import load_config
from uda4inst.training.memory import estimate

pytestmark = pytest.mark.fake_cuda

ROOT = Path(__file__).parents[2]
PAPER = "urbansyn_cityscapes"


@pytest.mark.skipif(bool(library.missing()), reason=str(library.missing()))
@pytest.mark.parametrize(
    ("checkpointing", "aim_gib", "aim_tflop", "aim_gb"),
    [  # bytes: two thirds of what they were
        pytest.param(False, 32, 42, 613, id="kept"),
        pytest.param(True, 14, 50, 771, id="checkpointed"),
    ],
)
def test_stage_2__of_the_paper_fits(
    tmp_path: Path, checkpointing: bool, aim_gib: float, aim_tflop: float, aim_gb: float
) -> None:
    settings = [f"model.gradient_checkpointing={checkpointing}", "method.groups=one"]
    counts = tmp_path / "counts.json"
    command = ["benchmarks/gpu_counts.py", PAPER, *settings, "--stages", "2", "--json", str(counts)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
    (counted,) = json.loads(counts.read_text())
    assert counted["peak_gib"] < aim_gib
    assert counted["tflop"] < aim_tflop
    assert counted["gb_moved"] < aim_gb
    estimated = estimate(load_config(PAPER, settings))
    assert estimated is not None
    assert estimated.stage2 == pytest.approx(counted["peak_gib"], rel=0.1)
