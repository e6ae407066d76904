"""Random numbers that follow from (seed, rank, step) alone, so that a resume repeats them."""

from __future__ import annotations

import numpy as np
import torch


def step_generator(*, seed: int, rank: int, step: int) -> torch.Generator:
    """Return a CPU generator for one step of one process; no two of them share a stream.

    Args:
        seed: the run's seed, at least 0.
        rank: index of the process, at least 0.
        step: index of the step, at least 0.
    """
    state = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
