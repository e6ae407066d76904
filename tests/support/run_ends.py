"""How a run ended, small enough to be kept and exact enough to be compared to the bit."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

# What depends on the machine and the moment, not on the code.
VARYING = ("time", "images_per_second", "memory_mib")


def _scores(path: Path) -> dict[str, Any]:
    """Return an evaluation as the versions wrote it that others are compared with."""
    record = json.loads(path.read_text())
    for later in ("images_there", "image_names"):
        record.pop(later, None)
    for protocols in record["results"].values():
        protocols["cityscapes"].pop("found", None)  # counts came later
    return record


def end_of(run: Path) -> dict[str, Any]:
    """Return what a finished run and its modules hold, for comparison."""
    found: dict[str, Any] = {
        "evaluation": {path.stem: _scores(path) for path in run.glob("evaluation/*.json")},
        "predictions": {
            str(path.relative_to(run / "evaluation/predictions")): hashlib.sha256(
                gzip.decompress(path.read_bytes())
            ).hexdigest()
            for path in run.glob("evaluation/predictions/*/*.jsonl.gz")
        },
        "modules": {path.name: end_of(path) for path in sorted(run.glob("modules/*"))},
    }
    if not found["modules"]:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = run / "checkpoints" / (run / "checkpoints" / "latest").read_text().strip()
        found["metrics"] = [{k: v for k, v in x.items() if k not in VARYING} for x in lines]
        found["tensors"] = {n: digest(last / f"{n}.safetensors") for n in ("student", "teacher")}
    return found


def digest(weights: Path) -> str:
    """Return the SHA-256 of every tensor's name and bytes, by name."""
    total = hashlib.sha256()
    for name, tensor in sorted(load_file(weights).items()):
        total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


def machine() -> dict[str, str]:
    """Return what the last bits of a sum depend on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
