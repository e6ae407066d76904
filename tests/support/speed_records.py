"""A measurement as `uda4inst bench` writes it."""

from __future__ import annotations

from typing import Any

from uda4inst.run_folder.speeds import SpeedRecord

FACTS: dict[str, Any] = {
    "network": "mit_tiny, fresh weights",
    "parameters": 1_000_000,
    "gflops": 1.5,
    "images_per_second": 20.0,
    "latency_p50_ms": 50.0,
    "latency_p95_ms": 60.0,
    "peak_memory_mib": 300.0,
    "peak_memory_of": "process",
    "size": (64, 96),
    "batch": 1,
    "precision": "fp32",
    "compiled": False,
    "repeats": 2,
    "warm_up": 1,
    "device": "cpu",
    "machine": "a machine, 2 cores",
    "threads": 2,
    "torch": "2.13.0",
}


def record(**changes: object) -> SpeedRecord:
    return SpeedRecord(**{**FACTS, **changes})
