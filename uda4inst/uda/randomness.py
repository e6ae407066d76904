"""Random numbers that follow from (seed, rank, step) alone, so that a resume repeats them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uda4inst.structures import moved


def step_generator(*, seed: int, rank: int, step: int) -> torch.Generator:
    """Return a CPU generator for one step of one process; no two of them share a stream.

    Args:
        seed: the run's seed, at least 0.
        rank: index of the process, at least 0.
        step: index of the step, at least 0.
    """
    state = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def drawn_for(device: torch.device, values: Tensor) -> Tensor:
    """Return numbers drawn on the host on a device; the host does not wait for the copy."""
    return moved(values if device.type == "cpu" else values.pin_memory(), device)
