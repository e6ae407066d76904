"""The memory that a run's steps take on a GPU: estimated, tried before the first step, explained.

On a CPU none of this says or does anything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from uda4inst.classes import IGNORE_TRAIN_ID, NUM_THINGS
from uda4inst.errors import UserError
from uda4inst.methods import METHODS
from uda4inst.models.memory import network_memory
from uda4inst.structures import DomainBatch, InstanceMap, Sample, SemanticMap, TargetSample
from uda4inst.training.config import Config
from uda4inst.training.session import Session, Stage, random_state, set_random_state
from uda4inst.training.step import find_gradients

log = logging.getLogger(__name__)

_GIB: Final = 2**30
# torch's allocator keeps more than is alive, and the driver takes some for itself.
_HEADROOM: Final = 1.08
_CONTEXT_GIB: Final = 0.6
_INSTANCES: Final = 50  # an image of the rehearsal; the paper's sources have 20 on average


@dataclass(frozen=True, slots=True)
class Estimate:
    """Peak memory of a step of each stage, GiB; counted, not measured.

    Args:
        stage1: of a step on source images; 0 where the run has no such steps.
        stage2: of a step of the method.
    """

    stage1: float
    stage2: float

    @property
    def peak(self) -> float:
        """The larger of both."""
        return max(self.stage1, self.stage2)


def estimate(config: Config) -> Estimate | None:
    """Return the memory that a run's steps take at their peak; None for networks not counted.

    Between steps there are weights, optimizer and teacher; in a step there come gradients and what
    the forward pass keeps of every image the student sees.
    """
    model, training = config.model, config.training
    network = network_memory(
        model.preset, precision=training.precision, checkpointing=model.gradient_checkpointing
    )
    if network is None:
        return None
    weights = 4 * network.parameters / _GIB
    image = network.gib_per_megapixel * config.data.crop[0] * config.data.crop[1] / 2**20
    # The student with its gradient and AdamW's two means; then whoever else the method has.
    others = len(METHODS[config.method.name].networks) - 1
    stage1 = 4 * weights + image * training.batch_size
    stage2 = (4 + others) * weights + image * config.method.student_images(training.batch_size)
    return Estimate(stage1 if training.boundary else 0.0, stage2 if training.stage2_steps else 0.0)


def wanted_gib(config: Config) -> float | None:
    """Return the memory that a card must have for a run, GiB; None for networks not counted.

    The peak, what torch's allocator keeps beside it, and what the driver takes.
    """
    needed = estimate(config)
    return None if needed is None else needed.peak * _HEADROOM + _CONTEXT_GIB


def check_memory(config: Config, device: torch.device) -> None:
    """Compare a run's estimate with the card.

    Raises:
        UserError: it will not fit; the message has the setting that would.
    """
    needed, wanted = estimate(config), wanted_gib(config)
    if device.type != "cuda" or needed is None or wanted is None:
        return
    if not config.training.rehearse_memory:
        return
    free, total = (size / _GIB for size in torch.cuda.mem_get_info(device))
    log.info(
        "memory, estimated: %.1f GiB in stage 1, %.1f in stage 2; the card has %.1f, %.1f free",
        needed.stage1,
        needed.stage2,
        total,
        free,
    )
    if wanted <= free:
        return
    name = torch.cuda.get_device_name(device)
    got = f"about {wanted:.0f} GiB for {free:.0f} free of {total:.0f} ({name})"
    if wanted <= total:
        raise UserError(
            f"a step must fit into the GPU's free memory, got {got}: other programs hold "
            f"{total - free:.0f} GiB. End them (nvidia-smi lists them), name another GPU by "
            "CUDA_VISIBLE_DEVICES, or set training.rehearse_memory=false to try all the same."
        )
    raise UserError(
        f"a step must fit into the GPU's memory, got {got}. {_remedy(config, free)} "
        "training.rehearse_memory=false tries all the same."
    )


def _remedy(config: Config, free: float) -> str:
    """Return the mildest change of settings that would fit."""
    for words, changed in _milder(config):
        wanted = wanted_gib(changed)
        if wanted is not None and wanted <= free:
            return f"Set {words}: about {wanted:.0f} GiB."
    return "Take a smaller model.preset or data.crop, or a larger card."


def _milder(config: Config) -> Iterator[tuple[str, Config]]:
    """Yield configurations that take less, in words and as they are."""
    checkpointed = config.model_copy(
        update={"model": config.model.model_copy(update={"gradient_checkpointing": True})}
    )
    if not config.model.gradient_checkpointing:
        yield "model.gradient_checkpointing=true", checkpointed
    also = "" if config.model.gradient_checkpointing else "model.gradient_checkpointing=true "
    for size in range(config.training.batch_size - 1, 0, -1):
        try:
            config.method.check_batch(size)
        except ValueError:
            continue
        training = config.training.model_copy(update={"batch_size": size})
        changed = checkpointed.model_copy(update={"training": training})
        yield f"{also}training.batch_size={size}", changed


def rehearse(session: Session) -> None:
    """Try the largest step of every stage that is still to come; nothing of it stays.

    Weights, statistics of batch norm, optimizer, method and random numbers are afterwards what they
    were. On several processes all of them rehearse together.

    Raises:
        UserError: a step does not fit into the card's memory.
    """
    config, device = session.config, session.processes.device
    if device.type != "cuda" or not config.training.rehearse_memory:
        return
    for stage in session.stages_to_come():
        torch.cuda.reset_peak_memory_stats(device)
        try:
            try_step(session, stage)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"a step of stage {stage.number} must fit into the GPU's memory, got "
                f"{_told(error)} in a rehearsal before the first step. "
                f"{_remedy(config, _free_gib(session))}"
            ) from error
        peak = torch.cuda.max_memory_allocated(device) / _GIB
        log.info("memory, tried: a step of stage %d peaks at %.1f GiB", stage.number, peak)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)


def try_step(session: Session, stage: Stage) -> None:
    """Do one step of a stage but for the update, on a full batch, and forget it.

    The optimizer's two means are stood for where they are not there yet.
    """
    config, device = session.config, session.processes.device
    state = random_state()
    parameters = [p for trained in stage.trained.values() for p in trained.parameters]
    missing = 0 if session.stage.optimizer.state else 2
    stand_ins = [torch.empty_like(p) for p in parameters for _ in range(missing)]
    # Batch norm counts what it sees; of the stage's networks the student is the session's own.
    buffers = [b for trained in stage.trained.values() for b in trained.network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        find_gradients(session, stage, full_batch(config, device))
    finally:
        stand_ins.clear()
        for parameter in parameters:
            parameter.grad = None
        for buffer, kept in zip(buffers, before, strict=True):
            buffer.copy_(kept)
        set_random_state(state)


def full_batch(config: Config, device: torch.device, *, instances: int = _INSTANCES) -> DomainBatch:
    """Return a batch of the configuration's size, full of instances, without any content."""
    size, count = config.data.crop, config.training.batch_size
    rows = torch.arange(size[0]) * instances // size[0] + 1
    ids = rows[:, None].expand(size).to(torch.int32).contiguous()
    labels = torch.arange(instances) % NUM_THINGS
    classes = torch.full(size, IGNORE_TRAIN_ID, dtype=torch.uint8)
    classes[: size[0] // 2] = 0

    def sample(index: int) -> Sample:
        image = torch.rand((3, *size))
        if config.task.labels == "semantic":
            return Sample(image, f"full {index}", "source", semantic=SemanticMap(classes))
        return Sample(image, f"full {index}", "source", instances=InstanceMap(ids, labels))

    labelled = tuple(sample(index) for index in range(count))
    target = tuple(
        TargetSample(torch.rand((3, *size)), torch.ones(size, dtype=torch.bool), f"full {index}")
        for index in range(count)
    )
    sees = config.method.sees
    return DomainBatch(
        source=() if sees == "labelled" else labelled,
        target=target if sees == "pair" else (),
        labelled=labelled if sees == "labelled" else (),
    ).to(device)


def out_of_memory(
    session: Session, error: Exception, saved_step: int | None, *, config: Path
) -> str:
    """Return what to tell who ran out of memory in the middle of a run.

    Args:
        session: of the run.
        error: torch's.
        saved_step: of the newest checkpoint; None before the first.
        config: the file that a resumed run reads; of a category group its own.
    """
    kept = "There is no" if saved_step is None else f"Step {saved_step} is kept as"
    return (
        f"a step must fit into the GPU's memory, got {_told(error)} at step {session.step} (stage "
        f"{session.stage.number}). {kept} checkpoint. "
        f"{_remedy(session.config, _free_gib(session))} Change {config}, then resume; where "
        "only pieces of memory are free, PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True helps."
    )


def _told(error: Exception) -> str:
    """Return the first sentence of torch's message."""
    return str(error).strip().split(". ")[0].rstrip(".")


def _free_gib(session: Session) -> float:
    """Return what the card could give this process."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(session.processes.device)
    return (free + torch.cuda.memory_allocated(session.processes.device)) / _GIB
