"""Cross-entropy and dice of matched masks at points chosen where each mask is least certain.

Reference: Kirillov et al., PointRend, CVPR 2020, sec. 3.1; Mask2Former, sec. 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from torch.nn import functional as F

from uda4inst.models.mask2former.points import random_points, sample_logits

# Logits sampled at once. On a CPU a chunk's 4 MiB stay in the cache and need no fresh pages from
# the system (3x faster than all at once, 320 masks x 40,768 points); a GPU is kept busy by 256 MiB.
_CHUNK_VALUES: Final = {"cpu": 2**20}
_CHUNK_VALUES_ON_DEVICE: Final = 2**26


@dataclass(frozen=True, slots=True, eq=False)
class PointPool:
    """Points drawn once for all masks of a view; each mask then takes its own share of them.

    Args:
        points: `candidates` points to choose from, then points that every mask takes.
        candidates: how many there are to choose from.
        chosen: how many of them a mask takes.
    """

    points: Float32[Tensor, "C 2"]
    candidates: int
    chosen: int

    @classmethod
    def draw(
        cls,
        num_points: int,
        *,
        oversample_ratio: float,
        importance_ratio: float,
        device: torch.device,
        generator: torch.Generator | None,
    ) -> PointPool:
        """Draw `num_points` x `oversample_ratio` candidates, and the random rest."""
        candidates, chosen = int(num_points * oversample_ratio), int(num_points * importance_ratio)
        points = [
            random_points(count, device=device, generator=generator)
            for count in (candidates, num_points - chosen)
        ]
        return cls(torch.cat(points), candidates, chosen)

    @torch.no_grad()
    def choose(
        self, values: Float32[Tensor, "K C"], allowed: Bool[Tensor, "K C"] | None = None
    ) -> Int64[Tensor, "K P"]:
        """Return which points each mask takes: the candidates nearest to 0, and the rest.

        Args:
            values: of the masks' logits at the candidates.
            allowed: which candidates to take before all others; None: any.
        """
        distance = values.abs()
        if allowed is not None:
            distance = distance.masked_fill(~allowed, math.inf)
        nearest = _smallest(distance, self.chosen)
        rest = torch.arange(self.candidates, len(self.points), device=values.device)
        return torch.cat([nearest, rest.expand(len(values), -1)], dim=1)

    @torch.no_grad()
    def at_candidates(self, logits: Float32[Tensor, "K 1 h w"]) -> Float32[Tensor, "K C"]:
        """Return logits at the points to choose from."""
        points = self.points[: self.candidates].expand(len(logits), -1, -1)
        return sample_logits(logits, points)[:, 0]

    def at(self, index: Int64[Tensor, "K P"]) -> Float32[Tensor, "K P 2"]:
        """Return points by index."""
        return self.points.index_select(0, index.flatten()).view(*index.shape, 2)


def _smallest(values: Float32[Tensor, "K C"], count: int) -> Int64[Tensor, "K {count}"]:
    """Return where each row's smallest values are, in no order."""
    if values.device.type == "cpu" and 0 < count < values.shape[1]:  # numpy: 3x faster than topk
        return torch.from_numpy(np.argpartition(values.numpy(), count, axis=1)[:, :count])
    return values.topk(count, dim=1, largest=False, sorted=False).indices


@dataclass(frozen=True, slots=True, eq=False)
class MaskTargets:
    """What K matched masks should be.

    Args:
        truth: masks at the pool's points.
        valid: 0 at points to leave out, per image; None for none.
        row: which row of `truth` each mask should be.
        image: which row of `valid` counts for each mask.
        weight: how much each mask counts; None: all of them 1.
        allowed: which of the pool's candidates may be chosen, per image; `valid` is 0 at the
            others, which fill up where these are too few. None: all.
    """

    truth: Float32[Tensor, "R C"]
    valid: Float32[Tensor, "B C"] | None
    row: Int64[Tensor, " K"]
    image: Int64[Tensor, " K"]
    weight: Float32[Tensor, " K"] | None = None
    allowed: Bool[Tensor, "B A"] | None = None


def mask_losses(
    logits: Float32[Tensor, "K h w"], pool: PointPool, targets: MaskTargets
) -> Float32[Tensor, " 2"]:
    """Return cross-entropy and dice, each a mean over a mask's points, summed over the masks.

    Args:
        logits: of K matched masks.
        pool: the points to choose from.
        targets: what the masks should be.
    """
    limit = _CHUNK_VALUES.get(logits.device.type, _CHUNK_VALUES_ON_DEVICE)
    chunk = max(1, limit // len(pool.points))
    terms: list[Tensor] = []
    for some, rows, images in zip(
        logits[:, None].split(chunk),
        targets.row.split(chunk),
        targets.image.split(chunk),
        strict=True,
    ):
        index = pool.choose(pool.at_candidates(some.detach()), _allowed(targets, images))
        values = sample_logits(some, pool.at(index))[:, 0]
        terms.append(_terms(values, *_targets_at(index, targets, rows, images)))
    return _summed(torch.cat(terms, dim=1), targets.weight)


def mask_losses_at(
    values: Float32[Tensor, "K C"], pool: PointPool, targets: MaskTargets
) -> Float32[Tensor, " 2"]:
    """Return what `mask_losses` does, from logits that are known at all points of the pool."""
    at_candidates = values[:, : pool.candidates].detach()
    index = pool.choose(at_candidates, _allowed(targets, targets.image))
    truth, valid = _targets_at(index, targets, targets.row, targets.image)
    return _summed(_terms(values.gather(1, index), truth, valid), targets.weight)


def _allowed(targets: MaskTargets, images: Tensor) -> Bool[Tensor, "K A"] | None:
    """Return which candidates some masks may choose."""
    return None if targets.allowed is None else targets.allowed.index_select(0, images)


def _summed(terms: Float32[Tensor, "2 K"], weight: Tensor | None) -> Float32[Tensor, " 2"]:
    """Return the sums over the masks."""
    return (terms if weight is None else terms * weight).sum(1)


def _targets_at(
    index: Int64[Tensor, "K P"], targets: MaskTargets, rows: Tensor, images: Tensor
) -> tuple[Float32[Tensor, "K P"], Float32[Tensor, "K P"] | None]:
    """Return what some masks should be at the points they chose, and where to look."""
    truth = targets.truth.index_select(0, rows).gather(1, index)
    if targets.valid is None:
        return truth, None
    return truth, targets.valid.index_select(0, images).gather(1, index)


def _terms(
    values: Float32[Tensor, "K P"],
    truth: Float32[Tensor, "K P"],
    valid: Float32[Tensor, "K P"] | None,
) -> Float32[Tensor, "2 K"]:
    """Return both terms of every mask."""
    inside = values.sigmoid()
    if valid is None:
        per_mask = F.binary_cross_entropy_with_logits(values, truth, reduction="none").mean(-1)
    else:
        share = valid / valid.sum(-1, keepdim=True).clamp(min=1)
        per_mask = F.binary_cross_entropy_with_logits(
            values, truth, weight=share, reduction="none"
        ).sum(-1)
        inside, truth = inside * valid, truth * valid
    overlap = 2 * (inside * truth).sum(-1)
    dice = 1 - (overlap + 1) / (inside.sum(-1) + truth.sum(-1) + 1)
    return torch.stack([per_mask, dice])
