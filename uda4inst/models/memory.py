"""How much memory the networks take in a training step on a GPU, as counted for every preset."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("memory.json")  # written by benchmarks/gpu_counts.py --fit


@dataclass(frozen=True, slots=True)
class NetworkMemory:
    """What one network takes.

    Args:
        parameters: their values; those that stay as they are count too.
        gib_per_megapixel: what is alive at the worst moment of a step beside weights, gradients and
            optimizer, by image and 2**20 pixels.
    """

    parameters: int
    gib_per_megapixel: float


def network_memory(preset: str, *, precision: str, checkpointing: bool) -> NetworkMemory | None:
    """Return a preset's memory; None where it has not been counted."""
    counted = _counted().get(preset)
    if counted is None:
        return None
    return NetworkMemory(
        counted["parameters"], counted["gib_per_megapixel"][kind(precision, checkpointing)]
    )


def kind(precision: str, checkpointing: bool) -> str:
    """Return the name of a way to train, as the file has it."""
    return f"{precision}, checkpointed" if checkpointing else precision


@functools.cache
def _counted() -> Mapping[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))["networks"] if FILE.exists() else {}
