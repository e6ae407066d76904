"""Steps that several methods take: aligning the source, views for the student, their losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from jaxtyping import Float16, Int64
from torch import Tensor

from uda4inst.classes import NUM_THINGS
from uda4inst.methods.base import Forward, LossTerm, MethodContext, Views
from uda4inst.ops.color import align_lab
from uda4inst.structures import DomainBatch, InstanceMap, Sample
from uda4inst.tasks.base import StudentView, Task
from uda4inst.uda.confidence import ConfidenceConfig, confident_pixels, confident_shares
from uda4inst.uda.mixing import Mixed

_NO_CONFIDENCE: Final = ConfidenceConfig()


def view_losses(
    views: Sequence[StudentView], *, context: MethodContext, joint: bool
) -> Iterator[LossTerm]:
    """Yield the parts of every view's loss as "view/part", each view normalised on its own.

    Args:
        views: at least one; all images of one size.
        context: student and loss; all views are handled with one host synchronisation.
        joint: one forward for all views, or one per view; the terms are the same.
    """
    batches = [torch.stack(tuple(view.images)) for view in views]
    forward = context.forward
    predictions = _forward_jointly(forward, batches) if joint else [forward(b) for b in batches]
    yield from prediction_losses(views, predictions, context=context)


def prediction_losses(
    views: Sequence[StudentView], predictions: Sequence[Any], *, context: MethodContext
) -> Iterator[LossTerm]:
    """Yield the parts of every view's loss as "view/part", of what the student has said.

    Args:
        views: at least one.
        predictions: the student's, one a view.
        context: its loss.
    """
    for view, parts in zip(views, context.loss.parts(predictions, views), strict=True):
        for part in parts:
            yield LossTerm(f"{view.name}/{part.name}", part.value, view.weight * part.weight)


def _forward_jointly(forward: Forward, batches: Sequence[Tensor]) -> list[Any]:
    """Return the prediction of each batch from one forward over all."""
    everything = forward(torch.cat(list(batches)))
    predictions: list[Any] = []
    start = 0
    for batch in batches:
        predictions.append(everything.select(slice(start, start + len(batch))))
        start += len(batch)
    return predictions


def sample_view(name: str, samples: Sequence[Sample], task: Task) -> StudentView:
    """Return labelled samples as a view of weight 1."""
    return StudentView(name, 1.0, [s.image for s in samples], [task.target_of(s) for s in samples])


def mixed_view(
    name: str,
    mixed: Sequence[Mixed | None],
    *,
    weight: float,
    confidence: ConfidenceConfig = _NO_CONFIDENCE,
) -> StudentView:
    """Return the mixed images there are as a view, with what their confidence changes."""
    crops = [m for m in mixed if m is not None]
    return _with_confidence(_crops_view(name, crops, weight=weight), crops, confidence)


def thirds_view(
    name: str, views: Views, *, confidence: ConfidenceConfig = _NO_CONFIDENCE
) -> StudentView:
    """Return one image of every pair as a view of weight 1: mixed if it is, or the source crop."""
    crops: list[Sample | Mixed] = []
    for index, source in enumerate(views.source):
        mixed = (images[index] for images in views.mixed.values() if images[index] is not None)
        crops.append(next(mixed, None) or source)
    return _with_confidence(_crops_view(name, crops, weight=1.0), crops, confidence)


def _crops_view(name: str, crops: Sequence[Sample | Mixed], *, weight: float) -> StudentView:
    """Return crops as a view; with slot weights as soon as one of them has some."""
    targets = [c.instances if isinstance(c, Mixed) else c.known_instances() for c in crops]
    given = [crop.weights if isinstance(crop, Mixed) else None for crop in crops]
    slot_weights = None
    if any(weights is not None for weights in given):
        slot_weights = [
            crop.image.new_ones(len(target)) if weights is None else weights
            for crop, target, weights in zip(crops, targets, given, strict=True)
        ]
    return StudentView(name, weight, [c.image for c in crops], targets, slot_weights)


def _with_confidence(
    view: StudentView, crops: Sequence[Sample | Mixed], confidence: ConfidenceConfig
) -> StudentView:
    """Return a view with mask scales and candidates, as asked for; plain crops are all sure."""
    if not confidence.is_used:
        return view
    maps: list[Float16[Tensor, "H W"]] = []
    for crop in crops:
        given = crop.confidence if isinstance(crop, Mixed) else None
        if given is None:
            given = torch.ones_like(crop.image[0], dtype=torch.float16)
        maps.append(given)
    above, from_value = confidence.mask_scaling, confidence.point_filter
    if above is not None:
        targets = [c.instances if isinstance(c, Mixed) else c.known_instances() for c in crops]
        scales = [
            confident_shares(target, values, above=above)
            for target, values in zip(targets, maps, strict=True)
        ]
        view = replace(view, mask_scales=scales)
    if from_value is not None:
        where = [confident_pixels(values, from_value=from_value) for values in maps]
        view = replace(view, candidates=where)
    return view


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


def count_labels(maps: Sequence[InstanceMap], things: int = NUM_THINGS) -> Int64[Tensor, " things"]:
    """Return how many slots carry each of so many thing classes; empty slots do not count."""
    labels = torch.cat([m.labels for m in maps])
    counts = torch.zeros(things + 1, dtype=torch.int64, device=labels.device)
    return counts.scatter_add(0, labels + 1, torch.ones_like(labels))[1:]
