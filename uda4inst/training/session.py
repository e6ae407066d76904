"""Everything a run is made of, built from its configuration or from a checkpoint.

The loop (`loop.py`) says what happens when; what it happens to is built and saved here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from uda4inst.errors import UserError
from uda4inst.methods import METHODS
from uda4inst.methods.base import Method
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.network import Mask2Former, build_model
from uda4inst.models.mask2former.pretrained import LoadReport, load_weights
from uda4inst.run_folder.checkpoints import (
    MANIFEST,
    OPTIMIZER,
    STATE,
    Checkpoint,
    Contents,
    open_checkpoint,
    read_checkpoint,
)
from uda4inst.run_folder.layout import find_run
from uda4inst.training.config import Config, config_hash, load_config
from uda4inst.training.optim import build_optimizer, learning_rate_share, set_learning_rate
from uda4inst.training.processes import Processes

log = logging.getLogger(__name__)

# Keeps the step's own draws apart from others that follow from (seed, rank, step).
_STEP_STREAM = 1


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One of the two stages of a run.

    Args:
        number: 1 or 2.
        first: its first step.
        last: the step after its last one.
        method: what it trains.
        optimizer: its own; a stage starts with a new one.
    """

    number: int
    first: int
    last: int
    method: Method
    optimizer: torch.optim.Optimizer


class Session:
    """A run in memory: networks, method, optimizer, and how far it has come.

    Args:
        config: the run's configuration.
        processes: where this process stands.
        checkpoint: where to go on from; None for a new run.
    """

    def __init__(
        self, config: Config, processes: Processes, *, checkpoint: Checkpoint | None = None
    ) -> None:
        self.config = config
        self.config_hash = config_hash(config)
        self.processes = processes
        student, self.load_report = build_student(config, checkpoint)
        self.student = student.to(processes.device)
        self.forward = processes.wrap(self.student)
        self.criterion = Criterion(num_points=config.model.num_points).to(processes.device)
        self.step = checkpoint.step if checkpoint else 0
        at_start = 1 if config.training.boundary > 0 else 2
        self.stage = self._build_stage(checkpoint.stage if checkpoint else at_start)
        if checkpoint:
            if checkpoint.manifest.get("config_hash") != self.config_hash:
                log.warning("config.yaml has changed since the checkpoint was written.")
            self._restore(checkpoint)

    def enter_stage_2(self) -> None:
        """Start the method with a new optimizer and schedule; the student stays."""
        self.stage = self._build_stage(2)

    def _build_stage(self, number: int) -> Stage:
        config, training, optim = self.config, self.config.training, self.config.optim
        # Stage 1 of an adaptation method is source-only training; the bounds stay what they are.
        name = (
            config.method.name if number == 2 or config.method.name == "oracle" else "source_only"
        )
        method = METHODS[name](
            self.student,
            self.criterion,
            config.method,
            forward=self.forward,
            seed=config.seed,
            rank=self.processes.rank,
        )
        optimizer = build_optimizer(
            self.student,
            lr=optim.lr,
            weight_decay=optim.weight_decay,
            backbone_lr_factor=optim.backbone_lr_factor,
        )
        first, last = (
            (0, training.boundary) if number == 1 else (training.boundary, training.total_steps)
        )
        return Stage(number, first, last, method, optimizer)

    def prepare_step(self) -> float:
        """Seed this step's draws and set its learning rate, which is returned.

        What a step draws follows from (seed, rank, step), so a resumed run repeats it.
        """
        drawn = self.step + self.config.training.draws_before
        key = (self.config.seed, self.processes.rank, drawn, _STEP_STREAM)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0]))
        optim, stage = self.config.optim, self.stage
        lr = optim.lr * learning_rate_share(
            self.step - stage.first,
            steps=stage.last - stage.first,
            warmup_steps=optim.warmup_steps,
            warmup_start=optim.warmup_start,
            power=optim.poly_power,
        )
        set_learning_rate(stage.optimizer, lr)
        return lr

    def networks(self) -> dict[str, Mask2Former]:
        """Return the student and, where there is one, the teacher."""
        teacher = self.stage.method.teacher
        if teacher is None:
            return {"student": self.student}
        return {"student": self.student, "teacher": cast(Mask2Former, teacher.model)}

    def contents(self) -> Contents | None:
        """Return what a checkpoint holds, on the first process; None on the others.

        Every process calls this at the same step: pool and random numbers are each one's own.
        """
        method_state = self.stage.method.state_dict()
        method_state.pop("teacher", None)  # goes into a file of its own
        states = self.processes.gather({"method": method_state, "rng": _rng_state()})
        if not self.processes.is_first:
            return None
        networks = self.networks()
        return Contents(
            step=self.step,
            stage=self.stage.number,
            student=networks["student"],
            teacher=networks.get("teacher"),
            optimizer=self.stage.optimizer.state_dict(),
            # Batches follow from (seed, step), so the step is the sampler's whole position.
            state={"processes": states, "sampler": {"step": self.step}},
            config_hash=self.config_hash,
            kept=self.stage.number == 1 and self.step == self.stage.last,
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Take over optimizer, method and random numbers."""
        self.stage.optimizer.load_state_dict(checkpoint.load(OPTIMIZER))
        states = checkpoint.load(STATE)["processes"]
        if len(states) != self.processes.count:
            log.warning(
                "The checkpoint was written by %d processes, now there are %d: the run goes on, "
                "but not as it would have.",
                len(states),
                self.processes.count,
            )
        own = states[self.processes.rank % len(states)]
        method_state: dict[str, Any] = dict(own["method"])
        teacher = self.stage.method.teacher
        if teacher is not None:
            load_weights(cast(Mask2Former, teacher.model), checkpoint.weights("teacher"))
            method_state["teacher"] = teacher.state_dict()
        self.stage.method.load_state_dict(method_state)
        _set_rng_state(own["rng"])


def build_student(
    config: Config, checkpoint: Checkpoint | None = None
) -> tuple[Mask2Former, LoadReport]:
    """Return the network a run starts, or goes on, with, and what was loaded into it.

    Raises:
        UserError: weights or checkpoint cannot be read or are of another architecture.
    """
    start = checkpoint
    if start is None and config.training.stage2_from:
        start = _checkpoint_at(config.training.stage2_from, root=Path(config.run.root))
        _check_classes(start, config)
    torch.manual_seed(config.seed)
    student, report = build_model(
        config.model.preset,
        weights=None if start else config.model.weights,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    if start:
        start.check_architecture(student)
        report = load_weights(student, start.weights("student"))
    return student, report


def _checkpoint_at(place: str, *, root: Path) -> Checkpoint:
    """Return a checkpoint by its folder, or the latest of a run by its folder or name."""
    path = Path(place)
    if (path / MANIFEST).is_file():
        return read_checkpoint(path)
    try:
        run = find_run(place, root=root)
    except UserError as error:
        raise UserError(
            "training.stage2_from must be a checkpoint folder (RUN/checkpoints/STEP), a run folder "
            f"or the name of a run in {root}, got {place!r}. Check the path."
        ) from error
    if run.modules.is_dir():
        groups = ", ".join(sorted(path.name for path in run.modules.iterdir()))
        raise UserError(
            "training.stage2_from must be a run of one network for all classes, as this one is, "
            f"got {run.path}, which has one for each of {groups}. Choose another run, or set "
            "method.groups to its groups."
        )
    return open_checkpoint(run.checkpoints)


def _check_classes(start: Checkpoint, config: Config) -> None:
    """Raise unless the network to start from has learned the same classes.

    Raises:
        UserError: its run, where there is one, was of another category group.
    """
    path = start.folder.parent.parent / "config.yaml"
    if not path.is_file():
        return
    learned = load_config(path).method
    if learned.class_labels != config.method.class_labels:
        raise UserError(
            "training.stage2_from must be a network of the same classes "
            f"({', '.join(config.method.classes) or 'all eight'}), got one of "
            f"{', '.join(learned.classes) or 'all eight'} ({start.folder}). Choose another "
            "checkpoint, or other method.groups."
        )


def _rng_state() -> dict[str, Any]:
    """Return the state of torch's generators."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": devices}


def _set_rng_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
