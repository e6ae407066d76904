"""Steps that semantic methods take: pseudo-labels of pixels, views of mixed images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import torch
from pydantic import Field

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.methods.base import Figure, MethodContext, Views
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch, SemanticMap, TargetSample
from uda4inst.tasks.base import StudentView
from uda4inst.uda.class_mixing import ClassMixer, StrongViewConfig
from uda4inst.uda.class_thresholds import class_thresholded
from uda4inst.uda.pixel_labels import (
    PixelLabels,
    QualityConfig,
    pixel_labels,
    weigh_by_quality,
)

_NAMES: Final = tuple(c.name for c in SEMANTIC_CLASSES)
# Settings of several methods, written once.
MixedWeight = Annotated[
    float,
    Field(ge=0, le=10, description="Weight of the loss on mixed images (DACS: 1)."),
]
HighestThreshold = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="A class's pixels need at least its median confidence, and never more than "
        "this (0.9).",
    ),
]


class ClassMixStep:
    """What DACS does before the student's forward pass, and with it all that builds on DACS.

    Args:
        context: student, seed; the teacher starts as the student's copy.
        ema_decay: of the teacher.
        quality: how much pseudo-labels count.
        class_mixing: the strong view.
    """

    def __init__(
        self,
        context: MethodContext,
        *,
        ema_decay: float,
        quality: QualityConfig,
        class_mixing: StrongViewConfig,
    ) -> None:
        self.context = context
        self.quality = quality
        self.updates = 0
        self.teacher = EmaTeacher(context.student, ema_decay=ema_decay, own_buffers=True)
        self.mixer = ClassMixer(class_mixing, seed=context.seed, rank=context.rank)

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Do lines 1 to 3 of DACS. The teacher moves on, so this is called once a step.

        Raises:
            ValueError: the batch has no target samples.
        """
        batch = batch.to(self.context.device)
        self.teacher.update(self.context.student, self.updates)  # ............................... 1
        self.updates += 1
        found = label_pixels(self.teacher, batch.target, context=self.context)  # ................ 2
        labels = weigh_by_quality(found, batch.target, self.quality)
        mixed = self.mixer(batch.source, batch.target, labels, step=step)  # ..................... 3
        return Views(
            source=batch.source,
            target=batch.target,
            pixel_labels=labels,
            class_mixed={"s2t": mixed},
            facts={"pixel_threshold": self.quality.threshold},
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the update count; the teacher is one of the networks."""
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.updates = state["updates"]


def label_pixels(
    teacher: EmaTeacher[Network], target: Sequence[TargetSample], *, context: MethodContext
) -> tuple[PixelLabels, ...]:
    """Return what a teacher says of target crops, its batch norms normalising by the batch.

    Raises:
        ValueError: there are no target crops.
    """
    if not target:
        raise ValueError("DomainBatch.target must hold one sample per source sample, got 0.")
    teacher.use_batch_statistics()
    images = torch.stack([sample.image for sample in target])
    return pixel_labels(context.infer(teacher.model, images))


@torch.no_grad()
def label_pixels_by_class(
    teacher: Network, target: Sequence[TargetSample], *, context: MethodContext, highest: float
) -> tuple[PixelLabels, ...]:
    """Return what a network, in evaluation mode, is as sure of as half of each class's pixels.

    Args:
        teacher: which labels; it is left in evaluation mode.
        target: crops.
        context: how it is run.
        highest: cap of the thresholds, see `uda4inst.uda.class_thresholds`.
    """
    teacher.eval()
    images = torch.stack([sample.image for sample in target])
    found = class_thresholded(context.infer(teacher, images).at_pixels(), highest=highest)
    return tuple(
        PixelLabels(best, sure, SemanticMap(ids))
        for best, sure, ids in zip(found.best, found.confidence.half(), found.ids, strict=True)
    )


def pseudo_labelled_view(name: str, views: Views) -> StudentView:
    """Return the target crops with what is learned of them, as a view of weight 1."""
    images = [sample.image for sample in views.target]
    return StudentView(name, 1.0, images, [labels.learned for labels in views.pixel_labels])


def class_mixed_view(name: str, views: Views, *, weight: float) -> StudentView:
    """Return the mixed images of a direction as a view."""
    mixed = views.class_mixed[name]
    return StudentView(name, weight, [m.image for m in mixed], [m.semantic for m in mixed])


def pixel_figures(views: Views) -> Mapping[str, Figure]:
    """Return the mean weight of the target's pixels, and how many of each class are learned.

    `pixel_weight` is the share of sure pixels where a method weighs by that, and the share of
    pixels kept where it drops some. Nothing is read back from the device.
    """
    if not views.pixel_labels:
        return {}
    maps = [labels.learned for labels in views.pixel_labels]
    ids = torch.stack([m.ids for m in maps]).reshape(-1).long()
    weights = torch.stack(
        [
            torch.ones_like(m.ids, dtype=torch.float32) if m.weights is None else m.weights
            for m in maps
        ]
    ).reshape(-1)
    counts = torch.zeros(256, device=ids.device).scatter_add(0, ids, torch.ones_like(weights))
    learned = (weights * (ids < len(_NAMES))).mean()
    return {
        "pixel_weight": Figure(learned, summed=False),
        "pixel_labels": Figure(counts[: len(_NAMES)], _NAMES),
    }
