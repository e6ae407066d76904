"""The images of a run: what its method may see, what it is judged on, and nothing else."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uda4inst.data.stream.dataset import Trees, open_trees
from uda4inst.data.stream.loading import build_loader
from uda4inst.data.tree import ImageTree, check_sizes
from uda4inst.structures import DomainBatch
from uda4inst.training.config import Config
from uda4inst.training.validation import open_validation, require_classes

if TYPE_CHECKING:
    from uda4inst.training.processes import Processes


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """The data sets of a run, opened once and handed on.

    Args:
        trees: what training sees.
        validation: labelled target images to be judged on; None where there are none.
    """

    trees: Trees
    validation: ImageTree | None

    def check(self) -> None:
        """Look at the header of every file the run will read, so that faults are told at once.

        Raises:
            UserError: files are unreadable, or label maps differ in size from their image.
        """
        for dataset in self.trees.opened:
            check_sizes(dataset)
        if self.validation is not None:
            check_sizes(self.validation)


def open_data(config: Config) -> RunData:
    """Open the data sets of a run; no image is looked at.

    Raises:
        UserError: a tree is missing or incomplete.
    """
    trees = open_trees(config.data, mode=config.method.sees, labels=config.task.labels)
    if trees.source is not None:
        require_classes(trees.source, config, "source")
    elif trees.target is not None:
        require_classes(trees.target, config, "target")
    return RunData(trees, open_validation(config))


def open_batches(
    config: Config, processes: Processes, trees: Trees, *, first_step: int
) -> Generator[DomainBatch]:
    """Return this process's batches from a step on; they follow from (seed, step) alone.

    Close it at the end: this ends the loader processes.

    Args:
        config: of the run.
        processes: where this process stands.
        trees: of `open_data`.
        first_step: of the run.

    Raises:
        UserError: no image shows what is to be learned; or, later, a file cannot be read.
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
        trees=trees,
    )
    return _shielded(batches)


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
