"""Which images a run trains on: what its method may see, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from uda4inst.data.dataset import Mode
from uda4inst.data.loading import build_loader
from uda4inst.methods.config import MethodConfig
from uda4inst.structures import DomainBatch
from uda4inst.training.config import Config
from uda4inst.training.processes import Processes


def open_batches(config: Config, processes: Processes, *, first_step: int) -> Iterator[DomainBatch]:
    """Return this process's batches from a step on; they follow from (seed, step) alone.

    Raises:
        UserError: a tree is missing or incomplete; or, later, a file cannot be read.
    """
    return build_loader(
        config.data,
        mode=mode_of(config.method),
        batch_size=config.training.batch_size,
        seed=config.seed,
        start_step=first_step,
        rank=processes.rank,
        world_size=processes.count,
        device=processes.device,
    )


def mode_of(method: MethodConfig) -> Mode:
    """Return what a method is shown: the oracle alone sees target labels."""
    if method.name == "oracle":
        return "labelled"
    if method.name == "source_only" and not method.lab_alignment:
        return "source"
    return "pair"
