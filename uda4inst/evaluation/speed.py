"""How fast something runs and what memory it takes, measured on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured.

    Args:
        seconds: of every repeat.
        warm_up: how often it ran before, unmeasured.
        peak_bytes: of the card's memory that tensors took while repeating; without a card, of the
            host's memory that the process ever took, libraries included.
    """

    seconds: tuple[float, ...]
    warm_up: int
    peak_bytes: int

    def per_second(self, images: int) -> float:
        """Return images a second over all repeats, where each has so many."""
        return images * len(self.seconds) / sum(self.seconds)

    def latency(self, share: float) -> float:
        """Return the seconds within which a share of the repeats were done, such as 0.95."""
        return float(np.quantile(self.seconds, share))


def measure(
    run: Callable[[], object], *, device: torch.device, repeats: int, warm_up: int
) -> Speed:
    """Return how long a call takes, one after another, each until the device is done.

    Args:
        run: what to measure; without gradients.
        device: where it computes.
        repeats: measured calls, at least 1.
        warm_up: calls before, which load, compile and choose kernels.
    """
    seconds: list[float] = []
    with torch.no_grad():
        for _ in range(warm_up):
            run()
        _wait(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for _ in range(repeats):
            started = time.perf_counter()
            run()
            _wait(device)
            seconds.append(time.perf_counter() - started)
    return Speed(tuple(seconds), warm_up, _peak_bytes(device))


def _wait(device: torch.device) -> None:
    """Wait until a device has nothing to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device) -> int:
    """Return the most memory taken; see `Speed`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
