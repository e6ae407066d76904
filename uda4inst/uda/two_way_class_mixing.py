"""Mixing in both directions between two views of the same pair (EHTDI)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Bool, Float32
from pydantic import Field
from torch import Tensor

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.structures import Sample, SemanticMap, TargetSample
from uda4inst.uda.class_mixing import (
    ClassMixed,
    StrongViewConfig,
    half_of_the_classes,
    mix_classes,
)
from uda4inst.uda.edges import boundary_band
from uda4inst.uda.mixing import Origin
from uda4inst.uda.pixel_labels import PixelLabels
from uda4inst.uda.randomness import drawn_for, step_generator

# Road, sidewalk, building, wall and fence are never pasted: they would cover the target whole.
FIRST_PASTED: Final = 5
_CLASSES: Final = len(SEMANTIC_CLASSES)


class TwoViewsConfig(StrongViewConfig):
    """The strong views of source and target crops."""

    gray_chance: float = Field(
        default=0.2, ge=0, le=1, description="How often colours are taken off (EHTDI: 0.2)."
    )


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What a step draws for one pair.

    Args:
        pasted: where the source crop goes into the target crop.
        source: the source crop's strong view.
        target: the target crop's strong view.
    """

    pasted: Bool[Tensor, "H W"]
    source: Float32[Tensor, "3 H W"]
    target: Float32[Tensor, "3 H W"]


class TwoViews:
    """Draws strong views and classes to paste.

    Args:
        config: chances.
        seed: the run's seed.
        rank: index of the process.
    """

    def __init__(self, config: TwoViewsConfig, *, seed: int, rank: int) -> None:
        self.config = config
        self.seed = seed
        self.rank = rank

    def draw(
        self, source: Sequence[Sample], target: Sequence[TargetSample], *, step: int
    ) -> tuple[Drawn, ...]:
        """Draw for every pair; what is drawn follows from (seed, rank, step)."""
        generator = step_generator(seed=self.seed, rank=self.rank, step=step)
        drawn: list[Drawn] = []
        for above, below in zip(source, target, strict=True):
            order = drawn_for(above.image.device, torch.rand(_CLASSES, generator=generator))
            pasted = half_of_the_classes(
                above.known_semantic().ids, order, from_train_id=FIRST_PASTED, rounded="down"
            )
            views = [self.config.draw(generator) for _ in range(2)]
            drawn.append(Drawn(pasted, views[0].apply(above.image), views[1].apply(below.image)))
        return tuple(drawn)


def source_into_target(
    source: Sample, target: Float32[Tensor, "3 H W"], labels: SemanticMap, drawn: Drawn
) -> ClassMixed:
    """Paste the weak source crop's drawn classes into a view of the target crop.

    Args:
        source: the source crop.
        target: the target crop, weak or strong.
        labels: its pseudo-labels.
        drawn: what is pasted.
    """
    return mix_classes(target, labels, source.image, source.known_semantic(), drawn.pasted)


def target_into_source(
    source: Sample, mixed: ClassMixed, said: PixelLabels, drawn: Drawn, *, confidence: float
) -> ClassMixed:
    """Paste the sure pixels of a mixed target crop into the strong source crop.

    Args:
        source: the source crop.
        mixed: the strong target crop, mixed with source.
        said: what the student says of the weak one, mixed the same way.
        drawn: the strong source crop.
        confidence: pixels surer than this are pasted.
    """
    is_sure = said.confidence > confidence
    return mix_classes(
        drawn.source,
        source.known_semantic(),
        mixed.image,
        SemanticMap(said.best),
        is_sure,
        origin=Origin.PSEUDO_LABEL,
    )


def as_pasted(source: Sample, said: PixelLabels, drawn: Drawn) -> PixelLabels:
    """Return what is known of a mixed target crop without showing it to the network.

    That is the source's own where it was pasted, for certain, and elsewhere what the student says
    of the target crop alone, where borders of pasted objects can mislead it in nothing.

    Args:
        source: the source crop.
        said: what the student says of the target crop before anything was pasted.
        drawn: what is pasted.
    """
    best = torch.where(drawn.pasted, source.known_semantic().ids, said.best)
    return replace(said, best=best, confidence=said.confidence.masked_fill(drawn.pasted, 1))


def known_classes(
    source: Sample, said: PixelLabels, drawn: Drawn, *, confidence: float
) -> SemanticMap:
    """Return the classes of a mixed target crop where they are known, else 255.

    That is the source's own where it was pasted, and elsewhere what the student is sure of.
    """
    is_sure = said.confidence > confidence
    guessed = torch.where(is_sure, said.best, IGNORE_TRAIN_ID)
    return SemanticMap(torch.where(drawn.pasted, source.known_semantic().ids, guessed))


def at_borders(mixed: ClassMixed) -> SemanticMap:
    """Return a mixed image's classes on the rim of what was pasted, 255 elsewhere."""
    band = boundary_band(mixed.origin > 0)
    return SemanticMap(torch.where(band, mixed.semantic.ids, IGNORE_TRAIN_ID))
