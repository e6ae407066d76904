"""A score threshold per class that follows how sure the teacher is of the class.

In the spirit of curriculum pseudo-labelling (Zhang et al., FlexMatch, NeurIPS 2021, arXiv
2110.08263): a class the network is less sure of gets a lower threshold, in proportion to the class
it is surest of. There the measure counts confident images; here it is a running mean of scores,
since an image holds few objects of most classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor

from uda4inst.detections import Detections
from uda4inst.settings import Settings


class AdaptiveConfig(Settings):
    """Score thresholds per class (ours, after FlexMatch, arXiv 2110.08263)."""

    enabled: bool = Field(
        default=False,
        description="Lower the score threshold of a class in proportion to how unsure the teacher "
        "is of it, beside the class it is surest of; off: one threshold (paper).",
    )
    momentum: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="Weight of the old running mean of a class's scores, per step (ours).",
    )
    floor: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Lowest threshold, and lowest score that counts in the running mean (ours).",
    )


class AdaptiveThresholds:
    """Thresholds that start at the configured ones and come down for classes of low scores.

    Of every class, the best score in each image counts if it exceeds the floor (so that images
    without the class do not); the mean over the step's images enters the running mean, which
    starts at 1. Then threshold_c = clamp(base_c x mean_c / largest mean, floor, base_c), the
    largest over the classes seen so far; a class not seen yet keeps base_c.

    State stays on the device, nothing is read back. Every process has its own.

    Args:
        base: the highest threshold of every class, on the detections' device; infinite for classes
            that are not learned.
        momentum: weight of the old running mean, 0..1.
        floor: lowest threshold, and lowest score that counts.
    """

    def __init__(self, base: Float32[Tensor, " C"], *, momentum: float, floor: float) -> None:
        self.base: Tensor = base
        self.momentum = momentum
        self.floor = floor
        self.means: Tensor = torch.ones_like(base)
        self.seen: Tensor = torch.zeros_like(base)

    def update(self, detections: Sequence[Detections]) -> Float32[Tensor, " C"]:
        """Take in the scores of one step and return the thresholds that follow.

        Args:
            detections: the teacher's, per image, before any threshold.
        """
        best = torch.stack([self._best(found) for found in detections])
        counts = best > self.floor
        number = counts.sum(0)
        mean = (best * counts).sum(0) / number.clamp(min=1)
        moved = self.momentum * self.means + (1 - self.momentum) * mean
        self.means = torch.where(number > 0, moved, self.means)
        self.seen = torch.where(number > 0, 1.0, self.seen)
        return self.thresholds()

    def thresholds(self) -> Float32[Tensor, " C"]:
        """Return the threshold of every class, as the state has it."""
        surest = (self.means * self.seen).amax().clamp(min=torch.finfo(torch.float32).tiny)
        lowered = (self.base * self.means / surest).clamp(min=self.floor)
        return torch.where(self.seen > 0, torch.minimum(lowered, self.base), self.base)

    def _best(self, found: Detections) -> Float32[Tensor, " C"]:
        """Return the best score of every class that is learned, else 0."""
        best = torch.zeros_like(self.base)
        best = best.scatter_reduce(0, found.labels, found.scores, "amax")
        return torch.where(self.base.isfinite(), best, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Return the running means."""
        return {"means": self.means, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over saved running means; they stay bit for bit what they were."""
        self.means = state["means"].to(self.base.device)
        self.seen = state["seen"].to(self.base.device)
