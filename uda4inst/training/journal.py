"""What every step leaves behind: a line of metrics, and the guard against non-finite losses."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil
import torch
from torch import Tensor

from uda4inst.atomic import whole_file, whole_folder
from uda4inst.methods.base import Figure, LossTerm
from uda4inst.models.network import Network, listed
from uda4inst.models.storage import not_finite
from uda4inst.run_folder.metrics import MetricsLog
from uda4inst.structures import DomainBatch, Sample
from uda4inst.training.processes import Processes
from uda4inst.training.trackers import Trackers

log = logging.getLogger(__name__)

# Weight of the newest step in the smoothed time of a step.
_NEWEST: Final = 0.1


class RunFailedError(RuntimeError):
    """The run cannot go on, for a reason that lies in the run: one clear message."""


class OtherProcessFailedError(RunFailedError):
    """Another process of the run failed and said so; its message has the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class StepFacts:
    """What is known on the host when a step has been launched.

    Args:
        step: the step.
        stage: its stage.
        lr: learning rate.
        batch: what it trained on.
        ended: unix seconds.
        seconds: how long the step took.
    """

    step: int
    stage: int
    lr: float
    batch: DomainBatch
    ended: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A step whose numbers are still on their way from the device."""

    facts: StepFacts
    terms: Sequence[LossTerm]
    numbers: Tensor  # one a term, then the gradient norm
    figures: Mapping[str, Figure]  # values on the host, or on their way
    arrived: torch.cuda.Event | None


class Journal:
    """Writes the metrics and stops a run whose numbers are not finite.

    On a GPU a step's numbers are looked at when the next step has been launched, so that nothing
    waits for them; `settle` brings this up to date, and must come before a checkpoint.

    Args:
        processes: losses are averaged, and counts summed, over them.
        metrics: where to write; None on every process but the first.
        log_every: steps between lines.
        failed_batch: where to put the batch of a non-finite loss.
        trackers: told what is written; None where nobody is.
    """

    def __init__(
        self,
        processes: Processes,
        metrics: MetricsLog | None,
        *,
        log_every: int,
        failed_batch: Path,
        trackers: Trackers | None = None,
    ) -> None:
        self._processes = processes
        self._trackers = trackers
        self._metrics = metrics
        self._log_every = log_every
        self._failed_batch = failed_batch
        self._pending: _Pending | None = None
        self._memory = psutil.Process()
        self._lowest = math.inf
        self._next_alarm = 100.0  # times the lowest loss
        self.last_loss: float | None = None
        self.seconds_per_step: float | None = None

    def record(
        self,
        facts: StepFacts,
        terms: Sequence[LossTerm],
        *,
        grad_norm: Tensor,
        figures: Mapping[str, Figure],
    ) -> None:
        """Take a step's numbers.

        Raises:
            RunFailedError: a loss or the gradient of this step, or of the one before it, is not
                finite.
        """
        earlier = self._pending
        values = [*(t.value.detach().float() for t in terms), grad_norm.detach().float()]
        # Before the event, which then stands for all of them.
        on_host = {name: replace(f, values=_host(f.values)) for name, f in figures.items()}
        numbers, arrived = _fetch(torch.stack(values))
        self._pending = _Pending(facts, tuple(terms), numbers, on_host, arrived)
        self._smooth(facts.seconds)
        if earlier is not None:
            self._finish(earlier)
        if arrived is None:
            self.settle()

    def settle(self) -> None:
        """Look at the last step too, now."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._finish(pending)

    def sync(self) -> None:
        """Wait until every line is on the disk."""
        if self._metrics is not None:
            self._metrics.sync()

    def _smooth(self, seconds: float) -> None:
        before = self.seconds_per_step
        self.seconds_per_step = seconds if before is None else before + _NEWEST * (seconds - before)

    def _finish(self, pending: _Pending) -> None:
        """Check a step's numbers and write its line."""
        if pending.arrived is not None:
            pending.arrived.synchronize()
        own = pending.numbers.double()
        mean = self._processes.sum(own.clone()) / self._processes.count
        if not bool(torch.isfinite(mean).all()):
            self._fail(pending, own)
        figures = {name: self._over_processes(f) for name, f in pending.figures.items()}
        *losses, grad_norm = mean.tolist()
        terms = pending.terms
        self.last_loss = math.fsum(t.weight * v for t, v in zip(terms, losses, strict=True))
        facts = pending.facts
        self._watch(facts.step, self.last_loss)
        if self._metrics is None or facts.step % self._log_every:
            return
        line: dict[str, Any] = {
            "step": facts.step,
            "stage": facts.stage,
            "time": facts.ended,
            "loss": self.last_loss,
            "losses": {t.name: v for t, v in zip(terms, losses, strict=True)},
            "lr": facts.lr,
            "grad_norm": grad_norm,
        }
        for name, figure in figures.items():
            values = figure.values.tolist()
            line[name] = dict(zip(figure.names, values, strict=True)) if figure.names else values
        images = max(len(facts.batch.source), len(facts.batch.labelled)) * self._processes.count
        line["images_per_second"] = round(images / max(facts.seconds, 1e-9), 3)
        line["memory_mib"] = round(self._memory_mib(), 1)
        self._metrics.append(line)
        if self._trackers is not None:
            self._trackers.log(line)

    def _watch(self, step: int, loss: float) -> None:
        """Say when the loss has grown a hundredfold, and with every further ten times."""
        self._lowest = min(self._lowest, max(loss, 1.0))
        if loss < self._next_alarm * self._lowest:
            return
        while loss >= self._next_alarm * self._lowest:
            self._next_alarm *= 10
        log.warning(
            "step %d: the loss is %.4g and was as low as %.4g: the training explodes. Stop it, and "
            "start again with a lower optim.lr.",
            step,
            loss,
            self._lowest,
        )

    def _over_processes(self, figure: Figure) -> Figure:
        """Return a figure of all processes together, or the first process's own."""
        if not figure.summed:
            return figure
        return replace(figure, values=self._processes.sum(figure.values))

    def _memory_mib(self) -> float:
        """Return peak memory of the GPU, or what the process holds now."""
        if self._processes.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        return self._memory.memory_info().rss / 2**20

    def _fail(self, pending: _Pending, numbers: Tensor) -> None:
        """Save this process's batch if the fault is its own, and raise."""
        names = [*(t.name for t in pending.terms), "gradient norm"]
        faults = [
            f"{name} = {value}"
            for name, value in zip(names, numbers.tolist(), strict=True)
            if not math.isfinite(value)
        ]
        message = None
        if faults:
            folder = self._failed_batch
            if self._processes.count > 1:
                folder = folder / f"process{self._processes.rank}"
            save_batch(pending.facts.batch, folder)
            message = (
                f"loss must be finite, got {', '.join(faults)} at step {pending.facts.step} "
                f"(samples {', '.join(pending.facts.batch.sample_ids)}; batch saved in {folder}). "
                "Look at the batch; a lower optim.lr, or precision fp32, may help."
            )
        everyone = [m for m in self._processes.gather(message) if m]
        raise RunFailedError("\n".join(everyone) or message or "another process failed")


def check_weights(networks: Mapping[str, Network], step: int) -> None:
    """Raise if a network is lost: a checkpoint of it would take a good one's place.

    Args:
        networks: by name.
        step: updates done, for the message.

    Raises:
        RunFailedError: weights are not finite.
    """
    for name, network in networks.items():
        if strange := not_finite(network.state_dict()):
            raise RunFailedError(
                f"weights must be finite, got others in the {name}'s {listed(strange)} after step "
                f"{step}, which is not saved. Resume from the checkpoint before, with a lower "
                "optim.lr, or precision fp32."
            )


def save_batch(batch: DomainBatch, folder: Path) -> None:
    """Write a batch as `batch.pt`: plain tensors and names, loadable with `weights_only=True`."""

    def labelled(samples: Sequence[Sample]) -> list[dict[str, Any]]:
        return [{"sample_id": s.sample_id, "image": s.image, **_labels(s)} for s in samples]

    value = {
        "source": labelled(batch.source),
        "labelled": labelled(batch.labelled),
        "target": [
            {"sample_id": s.sample_id, "image": s.image, "valid": s.valid} for s in batch.target
        ],
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as unfinished, whole_file(unfinished / "batch.pt") as temporary:
        torch.save(value, temporary)


def _labels(sample: Sample) -> dict[str, Tensor]:
    """Return the labels that were read."""
    labels: dict[str, Tensor] = {}
    if sample.instances is not None:
        labels |= {"ids": sample.instances.ids, "labels": sample.instances.labels}
    if sample.semantic is not None:
        labels["semantic"] = sample.semantic.ids
    return labels


def _fetch(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start copying values to the host; the event says when they are there."""
    if values.device.type != "cuda":
        return values.cpu(), None
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return host, arrived


def _host(values: Tensor) -> Tensor:
    """Start copying a figure's values to the host."""
    if values.device.type != "cuda":
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)
