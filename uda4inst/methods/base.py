"""What a method is to the training loop and the app, and the few steps methods share.

A method is one file that reads like its paper. It is built from small functions, never by
inheritance; the loop knows the `Method` protocol alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from uda4inst.classes import NUM_THINGS
from uda4inst.methods.config import MethodConfig
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.mask2former.criterion import Criterion, CriterionLosses
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.ops.color import align_lab
from uda4inst.structures import Detections, DomainBatch, InstanceMap, Sample, TargetSample
from uda4inst.uda.mixing import Mixed
from uda4inst.uda.rare_class_pool import PoolEntry

# Images (B, 3, H, W) in [0, 1] to predictions: the student, or what wraps it across processes.
Forward = Callable[[Tensor], Prediction]


@dataclass(frozen=True, slots=True, eq=False)
class LossTerm:
    """One scalar of the loss; the step minimises the sum of weight x value.

    Args:
        name: view and part, such as "s2t/mask".
        value: unweighted, with gradient.
        weight: of the view times of the part.
    """

    name: str
    value: Float32[Tensor, ""]
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What `prepare` made of a batch, on the student's device: what training sees.

    Parts a method does not make, or that are switched off, are empty.

    Args:
        source: source crops after LAB alignment.
        target: target crops.
        labelled: labelled target crops (oracle alone).
        detections: the teacher's, before any threshold, per target crop.
        pseudo_labels: those kept; slot k is detection k, label -1 when it was dropped.
            Ignore pixels where the teacher is unsure, if that is asked for.
        s2t: target crops with source instances and pool entries pasted, per pair; None for a pair
            that is not mixed this way.
        t2s: source crops with pseudo-labels pasted, likewise.
        pool: the rare-class pool after this step, oldest first.
        thresholds: the score that a detection of each class had to exceed, infinite for classes
            that are not learned; None where there are no pseudo-labels.
    """

    source: tuple[Sample, ...] = ()
    target: tuple[TargetSample, ...] = ()
    labelled: tuple[Sample, ...] = ()
    detections: tuple[Detections, ...] = ()
    pseudo_labels: tuple[InstanceMap, ...] = ()
    s2t: tuple[Mixed | None, ...] = ()
    t2s: tuple[Mixed | None, ...] = ()
    pool: tuple[PoolEntry, ...] = ()
    thresholds: Float32[Tensor, 8] | None = None


class Method(Protocol):
    """What the loop and the app know of a method.

    Every process computes the same terms in the same order at every step; which terms there are
    depends on the configuration alone, never on data.
    """

    teacher: EmaTeacher[nn.Module] | None
    last_views: Views | None

    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Make the training images of one step, without gradients; call it once a step.

        Args:
            batch: on the CPU, so that labels can be read without stopping the device.
            step: the run's step, from 0; random numbers follow from it.
        """
        ...

    def losses(self, batch: DomainBatch, step: int) -> Iterator[LossTerm]:
        """Prepare the batch, keep it as `last_views`, run the student and yield its losses."""
        ...

    def after_update(self, step: int) -> None:
        """Do what follows the optimizer's update of this step."""
        ...

    def pseudo_label_counts(self) -> Int64[Tensor, 8] | None:
        """Return kept pseudo-labels of the last step per class, on the device; None without."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resume needs beside student and optimizer (tensors, plain values)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class StudentView:
    """Images the student is trained on, their instances, and the view's name and weight.

    `slot_weights` is None, or has how much every slot of every map counts.
    """

    name: str
    weight: float
    images: Sequence[Float32[Tensor, "3 H W"]]
    targets: Sequence[InstanceMap]
    slot_weights: Sequence[Float32[Tensor, " _"]] | None = None


def view_losses(
    views: Sequence[StudentView], *, forward: Forward, criterion: Criterion, joint: bool
) -> Iterator[LossTerm]:
    """Yield class, mask and dice terms of every view, each view normalised on its own.

    Args:
        views: at least one; all images of one size.
        forward: runs the student.
        criterion: matches all views with one host synchronisation.
        joint: one forward for all views, or one per view; the terms are the same.
    """
    batches = [torch.stack(tuple(view.images)) for view in views]
    predictions = _forward_jointly(forward, batches) if joint else [forward(b) for b in batches]
    pairs = [(p, view.targets) for p, view in zip(predictions, views, strict=True)]
    all_losses = criterion.many(pairs, slot_weights=[view.slot_weights for view in views])
    for view, losses in zip(views, all_losses, strict=True):
        yield from loss_terms(view.name, losses, weight=view.weight, criterion=criterion)


def _forward_jointly(forward: Forward, batches: Sequence[Tensor]) -> list[Prediction]:
    """Return the prediction of each batch from one forward over all."""
    everything = forward(torch.cat(list(batches)))
    predictions: list[Prediction] = []
    start = 0
    for batch in batches:
        predictions.append(everything.select(slice(start, start + len(batch))))
        start += len(batch)
    return predictions


def loss_terms(
    view: str, losses: CriterionLosses, *, weight: float, criterion: Criterion
) -> Iterator[LossTerm]:
    """Yield a view's three terms as "view/part", weighted by view and part."""
    yield LossTerm(f"{view}/class", losses.class_loss, weight * criterion.class_weight)
    yield LossTerm(f"{view}/mask", losses.mask_loss, weight * criterion.mask_weight)
    yield LossTerm(f"{view}/dice", losses.dice_loss, weight * criterion.dice_weight)


def sample_view(name: str, samples: Sequence[Sample]) -> StudentView:
    """Return labelled samples as a view of weight 1."""
    return StudentView(name, 1.0, [s.image for s in samples], [s.instances for s in samples])


def mixed_view(name: str, mixed: Sequence[Mixed | None], *, weight: float) -> StudentView:
    """Return the mixed images there are as a view."""
    return _crops_view(name, [m for m in mixed if m is not None], weight=weight)


def thirds_view(name: str, views: Views) -> StudentView:
    """Return one image of every pair as a view of weight 1: mixed if it is, or the source crop."""
    pairs = zip(views.source, views.s2t, views.t2s, strict=True)
    return _crops_view(name, [s2t or t2s or source for source, s2t, t2s in pairs], weight=1.0)


def _crops_view(name: str, crops: Sequence[Sample | Mixed], *, weight: float) -> StudentView:
    """Return crops as a view; with slot weights as soon as one of them has some."""
    given = [crop.weights if isinstance(crop, Mixed) else None for crop in crops]
    slot_weights = None
    if any(weights is not None for weights in given):
        slot_weights = [
            crop.image.new_ones(len(crop.instances)) if weights is None else weights
            for crop, weights in zip(crops, given, strict=True)
        ]
    images, targets = [c.image for c in crops], [c.instances for c in crops]
    return StudentView(name, weight, images, targets, slot_weights)


def aligned_source(batch: DomainBatch, *, lab_alignment: bool) -> tuple[Sample, ...]:
    """Return the source crops, each with the colour statistics of its target crop if asked for.

    Raises:
        ValueError: the batch has no source samples, or no target samples to align to.
    """
    if not batch.source:
        raise ValueError("DomainBatch.source must not be empty, got 0 samples.")
    if not lab_alignment:
        return batch.source
    if not batch.target:
        raise ValueError(
            "DomainBatch.target must hold one sample per source sample for LAB alignment, got 0. "
            "Add target samples or set method.lab_alignment=false."
        )
    return tuple(
        replace(source, image=align_lab(source.image, target.image))
        for source, target in zip(batch.source, batch.target, strict=True)
    )


def class_thresholds(config: MethodConfig, score: float) -> Float32[Tensor, 8]:
    """Return the score each class must exceed: none can for the classes not learned here."""
    thresholds = torch.full((NUM_THINGS,), math.inf)
    thresholds[list(config.class_labels)] = score
    return thresholds


def count_labels(maps: Sequence[InstanceMap]) -> Int64[Tensor, 8]:
    """Return how many slots carry each thing class; empty slots do not count."""
    labels = torch.cat([m.labels for m in maps])
    counts = torch.zeros(NUM_THINGS + 1, dtype=torch.int64, device=labels.device)
    return counts.scatter_add(0, labels + 1, torch.ones_like(labels))[1:]


def device_of(student: nn.Module) -> torch.device:
    """Return where the student lives."""
    return next(student.parameters()).device
