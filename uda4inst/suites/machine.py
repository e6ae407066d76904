"""What a run was computed on, and which devices a machine has."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    limit = os.environ.get("CUDA_VISIBLE_DEVICES")
    if limit is not None:
        return tuple(name for part in limit.split(",") if (name := part.strip()) and name != "-1")
    return tuple(str(index) for index in range(len(_gpu_names())))


def hardware() -> str:
    """Return host, processor, cores and GPUs in one line."""
    names = _gpu_names()
    gpus = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    cores = f"{os.cpu_count() or 1} cores"
    return ", ".join([socket.gethostname(), _processor_name(), cores, *gpus])


def _gpu_names() -> list[str]:
    """Ask the driver, which is quicker than to import torch and works without it."""
    if not shutil.which("nvidia-smi"):
        return []
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _processor_name() -> str:
    """Return the processor's name as Linux tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
