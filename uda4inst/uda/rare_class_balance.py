"""When rare instances are stored and when they are pasted: the policy over the pool.

UDA4Inst (arXiv 2405.09682 v1): a source crop with rare instances gives them to the pool; one
without any gets a random half of it, in S2T only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.ops.color import LabStatistics, lab_statistics
from uda4inst.settings import ClassName, Settings
from uda4inst.structures import Sample, TargetSample
from uda4inst.uda.randomness import step_generator
from uda4inst.uda.rare_class_pool import (
    PoolEntry,
    RareClassPool,
    RareInstance,
    Riders,
    rare_instances,
)


class PoolConfig(Settings):
    """Rare-class balancing (S2T only)."""

    enabled: bool = Field(
        default=True, description="Paste stored rare instances where a source has none."
    )
    size: int = Field(
        default=10, ge=1, le=1000, description="Instances kept, oldest out first (paper: 10)."
    )
    draw_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of the pool pasted at a time (paper: half)."
    )
    area_budget: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of an image that a draw may hide on average, counted in boxes; large "
        "entries are pasted less often to keep to it (ours). None: no limit (paper).",
    )
    rare_classes: tuple[ClassName, ...] = Field(
        default=("train", "motorcycle"),
        description="Classes that count as rare. Paper: train and motorcycle (UrbanSyn, "
        "Synscapes), bus and motorcycle (SYNTHIA). None: the least frequent class of each group "
        "in the source.",
    )
    draw_by_rarity: bool = Field(
        default=False,
        description="Draw an entry the more likely, the less often its class has been stored "
        "(ours); off: each alike (paper).",
    )

    riders: Riders = Field(
        default="left",
        description="The rider of a stored two-wheeler: left behind, so that it is pasted with a "
        "hole (paper), pasted along as an instance, or pasted along and ignored (ours).",
    )
    draw_chance: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Chance that a source without rare instances is given a draw (paper: 1).",
    )
    fade: bool = Field(
        default=False,
        description="Let that chance fall to zero in a straight line over the stage (ours).",
    )
    max_overlap: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="An entry of which more than this share would lie on other instances is not "
        "pasted (ours). 1: all are (paper).",
    )
    colours: Literal["stored", "realigned"] = Field(
        default="stored",
        description="Colours of what is drawn: those of the target crop it was stored with "
        "(paper), or of the one it is pasted into (ours; with method.lab_alignment).",
    )
    pseudo_labels: bool = Field(
        default=True,
        description="Whether detections of the rare classes become pseudo-labels (paper). Off, the "
        "pool alone teaches them: it shows what the teacher, followed, adds (ours).",
    )

    def rare_labels(self, things: ThingClasses = EIGHT) -> frozenset[int]:
        """Return the thing indices of the rare classes."""
        return frozenset(things.index(name) for name in self.rare_classes)

    def proposed(
        self,
        groups: Sequence[Sequence[str]],
        counts: Sequence[int],
        things: ThingClasses = EIGHT,
    ) -> PoolConfig:
        """Return the configuration with the least frequent class of each group as rare.

        Args:
            groups: class names of every category group.
            counts: instances of each thing class in the source; classes without any are no choice.
            things: the classes that are counted.
        """
        there = [[name for name in group if counts[things.index(name)] > 0] for group in groups]
        rare = [min(names, key=lambda n: counts[things.index(n)]) for names in there if names]
        return self.model_copy(update={"rare_classes": tuple(rare)})


class RareClassBalance:
    """Stores a crop's rare instances, or draws from the pool for a crop that has none.

    Args:
        config: the pool, and which classes are rare.
        min_area: smallest instance pasted, in pixels; smaller ones are not stored either.
        seed: the run's seed.
        rank: index of this process; every process has its own pool and its own draws.
        things: the classes that are learned from.
    """

    def __init__(
        self,
        config: PoolConfig,
        *,
        min_area: int = 0,
        seed: int = 0,
        rank: int = 0,
        things: ThingClasses = EIGHT,
    ) -> None:
        self.config = config
        self.rare_labels = config.rare_labels(things)
        self.min_area = min_area
        self.seed = seed
        self.rank = rank
        self.pool = RareClassPool(
            config.size,
            draw_share=config.draw_share,
            area_budget=config.area_budget,
            by_rarity=config.draw_by_rarity,
            riders_are_ignored=config.riders == "ignored",
        )

    def find(self, source: Sequence[Sample]) -> list[tuple[RareInstance, ...]]:
        """Return the rare instances of every source crop, read in the host's memory."""
        return [
            rare_instances(
                crop.host_instances() or crop.known_instances(),
                rare_labels=self.rare_labels,
                min_area=self.min_area,
                with_riders=self.config.riders != "left",
            )
            for crop in source
        ]

    def balance(
        self,
        source: Sequence[Sample],
        rare: Sequence[tuple[RareInstance, ...]],
        *,
        wanted: Sequence[bool],
        looks: Sequence[LabStatistics] | None = None,
        step: int,
        progress: float = 0.0,
    ) -> list[tuple[PoolEntry, ...]]:
        """Return what is pasted beside the instances of every source crop.

        Crops are handled in order, so one may draw what an earlier one stored.

        Args:
            source: the crops as they are pasted, on any device.
            rare: of `find`, crop by crop.
            wanted: which crops are pasted at all; the others leave the pool alone.
            looks: of `looks`, for their target crops; None where draws keep their colours.
            step: the run's step; the draws follow from (seed, rank, step).
            progress: share of the stage that is done, in [0, 1].
        """
        drawn: list[tuple[PoolEntry, ...]] = [()] * len(source)
        if not self.config.enabled:
            return drawn
        generator = step_generator(seed=self.seed, rank=self.rank, step=step)
        chance = self.config.draw_chance * ((1 - progress) if self.config.fade else 1)
        for index, (crop, found) in enumerate(zip(source, rare, strict=True)):
            if not wanted[index]:
                continue
            look = None if looks is None else looks[index]
            for instance in found:
                self.pool.store(crop, instance, step=step, look=look)
            if not found and (chance >= 1 or float(torch.rand((), generator=generator)) < chance):
                drawn[index] = tuple(e.looking_like(look) for e in self.pool.draw(generator))
        return drawn

    def looks(self, target: Sequence[TargetSample]) -> list[LabStatistics] | None:
        """Return the colours of every target crop; None where draws keep theirs."""
        if not self.config.enabled or self.config.colours == "stored":
            return None
        return [lab_statistics(crop.image) for crop in target]
