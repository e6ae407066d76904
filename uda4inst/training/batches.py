"""Which images a run trains on: what its method may see, and nothing else."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator

from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.stream.loading import build_loader
from uda4inst.data.tree import ImageTree, check_sizes
from uda4inst.structures import DomainBatch
from uda4inst.training.config import Config
from uda4inst.training.processes import Processes


def open_batches(
    config: Config, processes: Processes, *, first_step: int
) -> Generator[DomainBatch]:
    """Return this process's batches from a step on; they follow from (seed, step) alone.

    Close it at the end: this ends the loader processes.

    Raises:
        UserError: a tree is missing or incomplete; or, later, a file cannot be read.
    """
    batches = build_loader(
        config.data,
        mode=config.method.sees,
        batch_size=config.training.batch_size,
        seed=config.seed,
        labels=config.task.labels,
        start_step=first_step + config.training.draws_before,
        rank=processes.rank,
        world_size=processes.count,
        device=processes.device,
        classes=config.method.class_labels,
    )
    return _shielded(batches)


def check_files(config: Config, validation: ImageTree | None) -> None:
    """Look at the header of every file the run will read, so that faults are told before it starts.

    Raises:
        UserError: files are unreadable, or label maps differ in size from their image.
    """
    for dataset in open_trees(config):
        check_sizes(dataset)
    if validation is not None:
        check_sizes(validation)


def open_trees(config: Config) -> Iterator[ImageTree]:
    """Open the data sets a run trains on, one after the other; no image is looked at.

    Raises:
        UserError: a tree is missing or incomplete.
    """
    mode = config.method.sees
    if mode != "labelled":
        yield open_dataset(config.data.source, domain="source", labels=config.task.labels)
    if mode != "source" or config.data.align_offline:
        labels = config.task.labels if mode == "labelled" else None
        yield open_dataset(config.data.target, domain="target", labels=labels)


def _shielded(batches: Iterator[DomainBatch]) -> Generator[DomainBatch]:
    """Yield batches from loader processes that are deaf to SIGTERM and Ctrl-C.

    Terminals and job schedulers send these to every process; loaders that ended at once would
    keep the trainer from finishing its step and saving. Signals blocked here, in the moment the
    loaders are started, stay blocked there; they end with the trainer.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        first = next(batches)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    yield first
    yield from batches
