"""The processes of one run: found by `accelerate`, which also sets device and precision."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from uda4inst.errors import UserError
from uda4inst.methods.base import Forward
from uda4inst.models.precision import Precision, inference_precision
from uda4inst.models.storage import on_host
from uda4inst.training.config import Config
from uda4inst.training.peers import Peers, end_now, open_store

# Processes wait for one another this long at most: the first of them may be evaluating, or paused.
# One that is gone is noticed by `Peers`.
PATIENCE: Final = timedelta(days=7)
# Of these processes: in a run of several category groups they meet more than once.
_meetings = itertools.count(1)


@dataclass(frozen=True, slots=True, eq=False)
class Processes:
    """Where this process stands among those of the run.

    Args:
        accelerator: device, precision and gradient clipping.
        group: exchanges small values on the CPU; None for a single process.
        inference_precision: of networks that are not trained.
        peers: looks after the other processes; None for a single process.
    """

    accelerator: Accelerator
    group: distributed.ProcessGroup | None
    inference_precision: Precision = "fp32"
    peers: Peers | None = None

    @classmethod
    def join(cls, config: Config) -> Processes:
        """Find the other processes, as `accelerate launch` or torchrun announced them."""
        accelerator = Accelerator(
            cpu=config.training.device == "cpu",
            mixed_precision="bf16" if config.training.precision == "bf16" else "no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        group = peers = None
        if accelerator.num_processes > 1:
            made = distributed.new_group(backend="gloo", timeout=PATIENCE)
            group = made if isinstance(made, distributed.ProcessGroup) else None
            peers = Peers(
                open_store(),
                rank=accelerator.process_index,
                count=accelerator.num_processes,
                meeting=next(_meetings),
                end=end_now,
            )
            peers.start()
        return cls(accelerator, group, config.training.inference_precision, peers)

    @property
    def rank(self) -> int:
        """Index of this process."""
        return self.accelerator.process_index

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.accelerator.num_processes

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.accelerator.device

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes on the first; an empty list on the others.

        Tensors arrive in the host's memory: as they are, they would take room on cards of others.
        """
        value = on_host(value)
        if self.group is None:
            return [value]
        values = [None] * self.count if self.is_first else None
        distributed.gather_object(value, values, group_dst=0, group=self.group)
        return list(values or [])

    def on_first(self, work: Callable[[], object]) -> None:
        """Run something on the first process; where it fails, all fail with its message.

        Raises:
            UserError: what the work raised.
        """
        message: list[str | None] = [None]
        if self.is_first:
            try:
                work()
            except UserError as error:
                message = [str(error)]
        if self.group is not None:
            distributed.broadcast_object_list(message, group_src=0, group=self.group)
        if message[0] is not None:
            raise UserError(message[0])

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a CPU tensor over all processes."""
        if self.group is not None:
            distributed.all_reduce(values, group=self.group)
        return values

    def wrap(self, student: nn.Module) -> Forward:
        """Return what runs the student: in the run's precision, gradients averaged.

        `accelerator.prepare` would write autocast into the student itself, and the teacher, its
        copy, would lose its full precision; so the wrapping is spelled out.
        """
        wrapped = student
        if self.group is not None:
            on_gpu = self.device.type == "cuda"
            wrapped = DistributedDataParallel(
                student,
                device_ids=[self.device] if on_gpu else None,
                # Constants, or running statistics, which are judged on the first process alone.
                broadcast_buffers=False,
            )

        def forward(images: Tensor) -> Any:
            with self.accelerator.autocast():
                return wrapped(images)

        return forward

    def infer(self, network: nn.Module, images: Tensor) -> Any:
        """Return the prediction of a network that is not trained."""
        with inference_precision(self.inference_precision, self.device):
            return network(images)

    def leave(self) -> None:
        """Forget the other processes, so that a later run in this process can join anew."""
        if self.peers is not None:
            self.peers.leave()
        self.accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)
