"""Everything a run is made of, built from its configuration or from a checkpoint.

The loop (`loop.py`) says what happens when; what it happens to is built and saved here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from uda4inst.errors import UserError
from uda4inst.methods import METHODS, stage1_config
from uda4inst.methods.base import Method, MethodContext
from uda4inst.methods.updates import STUDENT, BeginsAfresh, TrainsOthers, Update
from uda4inst.models.network import LoadReport, Network
from uda4inst.run_folder.checkpoints import (
    MANIFEST,
    OPTIMIZER,
    OTHERS,
    STATE,
    Checkpoint,
    Contents,
    open_checkpoint,
    read_checkpoint,
)
from uda4inst.run_folder.layout import find_run
from uda4inst.training.config import Config, config_hash, load_config
from uda4inst.training.optim import (
    build_optimizer,
    learning_rate_share,
    load_optimizer,
    set_learning_rate,
)
from uda4inst.training.processes import Processes

log = logging.getLogger(__name__)

# Keeps the step's own draws apart from others that follow from (seed, rank, step).
_STEP_STREAM = 1


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network that is trained.

    Args:
        network: itself, never a wrapper.
        optimizer: of its parameters.
        lr: its peak learning rate.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    lr: float

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are not frozen."""
        return [p for p in self.network.parameters() if p.requires_grad]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One of the two stages of a run.

    Args:
        number: 1 or 2.
        name: of its method.
        first: its first step.
        last: the step after its last one.
        method: what it trains.
        trained: the networks it updates, the student first; a stage starts with new optimizers.
        updates: those of a step, in their order.
    """

    number: int
    name: str
    first: int
    last: int
    method: Method
    trained: Mapping[str, Trained]
    updates: tuple[Update, ...]

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The student's."""
        return self.trained[STUDENT].optimizer


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
        self.loss = config.task.build_loss(num_points=config.model.num_points)
        self.loss.to(processes.device)
        self.step = checkpoint.step if checkpoint else 0
        self.written_by: int | None = None  # processes, of the checkpoint
        self.lr = config.optim.lr
        at_start = 1 if config.training.boundary > 0 else 2
        self.stage = self._build_stage(checkpoint.stage if checkpoint else at_start)
        if checkpoint is None:
            self._begin(_others_of_start(config))
        else:
            if checkpoint.manifest.get("config_hash") != self.config_hash:
                log.warning("config.yaml has changed since the checkpoint was written.")
            self._restore(checkpoint)

    def enter_stage_2(self) -> None:
        """Start the method with a new optimizer and schedule; the student stays."""
        before = self._others()
        self.stage = self._build_stage(2)
        self._begin(before)

    def _begin(self, before: Mapping[str, Mapping[str, Any]]) -> None:
        """Tell the method that its stage begins, and what there is to go on with, if it asks."""
        if isinstance(self.stage.method, BeginsAfresh):
            kept = {name: other["weights"] for name, other in before.items() if "weights" in other}
            self.stage.method.begin(kept)

    def stages_to_come(self) -> Iterator[Stage]:
        """Yield this stage and those after it, each made anew, for a rehearsal."""
        training = self.config.training
        for number, steps in ((1, training.boundary), (2, training.stage2_steps)):
            if number >= self.stage.number and steps:
                yield self._build_stage(number)

    def _build_stage(self, number: int) -> Stage:
        config, training, optim = self.config, self.config.training, self.config.optim
        settings = config.method if number == 2 else stage1_config(config.method)
        context = MethodContext(
            self.student,
            config.task,
            self.loss,
            self.forward,
            infer=self.processes.infer,
            wrap=self.processes.wrap,
            build_start=self._build_start,
            learning_rate=lambda: self.lr,
            seed=config.seed,
            rank=self.processes.rank,
            steps=training.boundary if number == 1 else training.stage2_steps,
        )
        state = random_state()
        torch.manual_seed(config.seed)  # networks of the method's own begin alike in every stage 2
        method = METHODS[settings.name].build(context, settings)
        set_random_state(state)
        optimizer = build_optimizer(
            self.student,
            lr=optim.lr,
            weight_decay=optim.weight_decay,
            backbone_lr_factor=optim.backbone_lr_factor,
            algorithm=optim.algorithm,
            momentum=optim.momentum,
        )
        trained = {STUDENT: Trained(self.student, optimizer, optim.lr), **_trained_beside(method)}
        updates = method.updates if isinstance(method, TrainsOthers) else [Update(method.losses)]
        first, last = (
            (0, training.boundary) if number == 1 else (training.boundary, training.total_steps)
        )
        return Stage(number, settings.name, first, last, method, trained, tuple(updates))

    def _build_start(self) -> Network:
        """Return the network that all stages started from, with its weights, on the device.

        That is before any training, whichever run stage 2 goes on from.
        """
        state = random_state()
        training = self.config.training.model_copy(update={"stage2_from": None})
        network, _ = build_student(self.config.model_copy(update={"training": training}))
        set_random_state(state)
        return network.to(self.processes.device)

    def prepare_step(self) -> float:
        """Seed this step's draws and set its learning rates; the student's is returned.

        What a step draws follows from (seed, rank, step), so a resumed run repeats it.
        """
        drawn = self.step + self.config.training.draws_before
        key = (self.config.seed, self.processes.rank, drawn, _STEP_STREAM)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0]))
        optim, stage = self.config.optim, self.stage
        share = learning_rate_share(
            self.step - stage.first,
            steps=stage.last - stage.first,
            warmup_steps=optim.warmup_steps,
            warmup_start=optim.warmup_start,
            power=optim.poly_power,
        )
        for trained in stage.trained.values():
            set_learning_rate(trained.optimizer, trained.lr * share)
        self.lr = optim.lr * share
        return self.lr

    def contents(self) -> Contents | None:
        """Return what a checkpoint holds, on the first process; None on the others.

        Every process calls this at the same step: pool and random numbers are each one's own.
        """
        method = self.stage.method
        states = self.processes.gather({"method": method.state_dict(), "rng": random_state()})
        if not self.processes.is_first:
            return None
        return Contents(
            step=self.step,
            stage=self.stage.number,
            networks=method.networks,
            optimizer=self.stage.optimizer.state_dict(),
            # Batches follow from (seed, step), so the step is the sampler's whole position.
            state={"processes": states, "sampler": {"step": self.step}},
            config_hash=self.config_hash,
            kept=self.stage.number == 1 and self.step == self.stage.last,
            others=self._others(),
        )

    def _others(self) -> dict[str, dict[str, Any]]:
        """Return what a checkpoint holds of the networks trained beside the student."""
        kept: dict[str, dict[str, Any]] = {}
        for name, trained in self.stage.trained.items():
            if name != STUDENT:
                kept[name] = {"optimizer": trained.optimizer.state_dict()}
                if name not in self.stage.method.networks:
                    kept[name]["weights"] = trained.network.state_dict()
        return kept

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Take over optimizers, method and random numbers.

        Raises:
            UserError: they are not those of such a run.
        """
        try:
            self._take_over(checkpoint)
        except UserError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"checkpoint must hold what such a run leaves, got {type(error).__name__}: "
                f"{str(error)[:300]} ({checkpoint.folder}). Go on from another one, or start the "
                "run again under another name."
            ) from error

    def _take_over(self, checkpoint: Checkpoint) -> None:
        load_optimizer(self.stage.optimizer, checkpoint.load(OPTIMIZER))
        if len(self.stage.trained) > 1:
            others = checkpoint.load(OTHERS)
            for name, trained in self.stage.trained.items():
                if name != STUDENT:
                    load_optimizer(trained.optimizer, others[name]["optimizer"])
                    if "weights" in others[name]:
                        trained.network.load_state_dict(others[name]["weights"])
        states = checkpoint.load(STATE)["processes"]
        self.written_by = len(states)
        own = states[self.processes.rank % len(states)]
        for name, network in self.stage.method.networks.items():
            if network is not self.student:
                checkpoint.load_network(network, name)
        self.stage.method.load_state_dict(own["method"])
        set_random_state(own["rng"])


def _trained_beside(method: Method) -> dict[str, Trained]:
    """Return the networks that a method trains beside its student, each with a new optimizer."""
    if not isinstance(method, TrainsOthers):
        return {}
    return {
        name: Trained(
            other.network,
            build_optimizer(other.network, **other.optim.model_dump()),
            other.optim.lr,
        )
        for name, other in method.others.items()
    }


def _others_of_start(config: Config) -> dict[str, Any]:
    """Return what the checkpoint that stage 2 starts from holds beside its student."""
    if not config.training.stage2_from:
        return {}
    start = checkpoint_at(config.training.stage2_from, root=Path(config.run.root))
    return start.load(OTHERS) if OTHERS in start.manifest["files"] else {}


def build_student(
    config: Config, checkpoint: Checkpoint | None = None
) -> tuple[Network, LoadReport]:
    """Return the network a run starts, or goes on, with, and what was loaded into it.

    Raises:
        UserError: weights or checkpoint cannot be read or are of another architecture.
    """
    start = checkpoint
    if start is None and config.training.stage2_from:
        start = checkpoint_at(config.training.stage2_from, root=Path(config.run.root))
        _check_classes(start, config)
    torch.manual_seed(config.seed)
    student, report = config.task.build_network(
        config.model.preset,
        weights=None if start else config.model.weights,
        gradient_checkpointing=config.model.gradient_checkpointing,
        deformable_kernel=config.model.deformable_kernel,
    )
    if start:
        report = start.load_network(student)
    return student, report


def checkpoint_at(place: str, *, root: Path) -> Checkpoint:
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
    path = start.run.config
    if not path.is_file():
        return
    learned, wanted = load_config(path), config
    same_classes = set(learned.class_names) == set(wanted.class_names)
    if not same_classes or learned.task.class_names != wanted.task.class_names:
        raise UserError(
            "training.stage2_from must be a network of the same classes "
            f"({_classes(wanted)}), got one of {_classes(learned)} ({start.folder}). Choose "
            "another checkpoint, or other method.groups."
        )


def _classes(config: Config) -> str:
    """Return the classes of a configuration's network, for a message."""
    every = config.task.class_names
    some = config.class_names
    return ", ".join(some) if len(some) < len(every) else f"all {len(every)}"


def random_state() -> dict[str, Any]:
    """Return the state of torch's generators."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": devices}


def set_random_state(state: dict[str, Any]) -> None:
    """Take over what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
