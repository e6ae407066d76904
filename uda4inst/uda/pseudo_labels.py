"""From the teacher's detections to pseudo-labels: score threshold, valid region, overlaps.

UDA4Inst (arXiv 2405.09682 v1): a detection becomes a pseudo-label when its score, class
probability x mean mask probability, exceeds 0.9. The authors' later code drops detections that
lie on the ego vehicle; overlaps it leaves as they are, here the better score wins each pixel.
Dropping slivers and ignoring what the teacher is unsure of are ours, and off unless asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Bool, Float16, Float32, Int64
from pydantic import Field
from torch import Tensor

from uda4inst.classes import NUM_THINGS
from uda4inst.detections import Detections
from uda4inst.models.mask2former.decode import upsample
from uda4inst.settings import Settings
from uda4inst.structures import (
    EMPTY_SLOT,
    IGNORE_ID,
    InstanceMap,
    Size,
    TargetSample,
)
from uda4inst.uda.adaptive_threshold import AdaptiveConfig, AdaptiveThresholds
from uda4inst.uda.confidence import pixel_confidence

# Pixels of masks handled at once: 16 masks of 1024x1024. Its temporaries stay near 200 MB there.
CHUNK_PIXELS: Final = 16 * 1024 * 1024


class EgoConfig(Settings):
    """What happens to pseudo-labels on the ego vehicle."""

    min_valid_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="A pseudo-label with less of its area off the ego vehicle is dropped "
        "(authors' later code: 0.2).",
    )


_USUAL_EGO: Final = EgoConfig()
_NOT_ADAPTIVE: Final = AdaptiveConfig()


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabels:
    """What the teacher's detections became.

    Args:
        maps: one an image; slot k is detection k, label -1 when it was dropped. Ignore pixels
            where the teacher is unsure, if that is asked for.
        weights: how much every slot counts in the loss; None: all of them 1.
        thresholds: the score that a detection of each class had to exceed, infinite for classes
            that are not learned.
        confidence: how sure the teacher is of each pixel; None where nobody asked.
    """

    maps: tuple[InstanceMap, ...]
    weights: tuple[Float32[Tensor, " N"] | None, ...]
    thresholds: Float32[Tensor, " C"]
    confidence: tuple[Float16[Tensor, "H W"] | None, ...]


class PseudoLabeller:
    """Turns detections into pseudo-labels by the rules of a configuration.

    Args:
        class_labels: thing indices that are learned; no other becomes a pseudo-label.
        score_threshold: scores must exceed it (paper: 0.9).
        things: how many classes there are, learned or not.
        ego: how much of a detection may lie on the ego vehicle.
        adaptive: thresholds per class, if enabled.
        unsure_threshold: see `select`.
        min_visible_share: see `select`.
        soft_weights: weigh a pseudo-label by its score.
        with_confidence: say how sure the teacher is of each pixel.
        device: where the detections are.
    """

    def __init__(
        self,
        class_labels: Sequence[int],
        *,
        score_threshold: float,
        things: int = NUM_THINGS,
        ego: EgoConfig = _USUAL_EGO,
        adaptive: AdaptiveConfig = _NOT_ADAPTIVE,
        unsure_threshold: float | None = None,
        min_visible_share: float = 0.0,
        soft_weights: bool = False,
        with_confidence: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self._thresholds = class_thresholds(class_labels, score_threshold, things).to(device)
        self._unsure: Tensor | None = None
        if unsure_threshold is not None:
            self._unsure = class_thresholds(class_labels, unsure_threshold, things).to(device)
        self._adaptive: AdaptiveThresholds | None = None
        if adaptive.enabled:
            self._adaptive = AdaptiveThresholds(
                self._thresholds, momentum=adaptive.momentum, floor=adaptive.floor
            )
        self._ego = ego
        self._min_visible_share = min_visible_share
        self._soft_weights = soft_weights
        self._with_confidence = with_confidence
        self._learned = self._thresholds.isfinite()

    def __call__(
        self, detections: Sequence[Detections], target: Sequence[TargetSample]
    ) -> PseudoLabels:
        """Return the pseudo-labels of every target crop; nothing is read back from the device."""
        thresholds = self._thresholds
        if self._adaptive is not None:
            thresholds = self._adaptive.update(detections)
        maps = tuple(
            select(
                found,
                score_threshold=thresholds,
                valid=crop.valid,
                min_valid_share=self._ego.min_valid_share,
                min_visible_share=self._min_visible_share,
                unsure_threshold=self._unsure,
            )
            for found, crop in zip(detections, target, strict=True)
        )
        weights = tuple(found.scores if self._soft_weights else None for found in detections)
        confidence = tuple(
            pixel_confidence(found, labels, learned=self._learned, valid=crop.valid)
            if self._with_confidence
            else None
            for found, labels, crop in zip(detections, maps, target, strict=True)
        )
        return PseudoLabels(maps, weights, thresholds, confidence)

    def state_dict(self) -> dict[str, Any] | None:
        """Return the running scores; None where thresholds are fixed."""
        return None if self._adaptive is None else self._adaptive.state_dict()

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Take over saved running scores."""
        if self._adaptive is not None and state is not None:
            self._adaptive.load_state_dict(state)


def class_thresholds(
    class_labels: Sequence[int], score: float, things: int = NUM_THINGS
) -> Float32[Tensor, " C"]:
    """Return the score each class must exceed: none can for the classes not learned here."""
    thresholds = torch.full((things,), math.inf)
    thresholds[list(class_labels)] = score
    return thresholds


def select(
    detections: Detections,
    *,
    score_threshold: float | Float32[Tensor, " C"],
    valid: Bool[Tensor, "H W"],
    min_valid_share: float = 0.2,
    min_visible_share: float = 0.0,
    unsure_threshold: float | Float32[Tensor, " C"] | None = None,
) -> InstanceMap:
    """Return one image's pseudo-labels: detections that pass, made disjoint, slot by slot.

    Slot k is detection k, or empty (label -1) when the detection was dropped: its score does not
    exceed the threshold, too little of it is valid, or better detections own all its pixels.
    Where kept detections overlap the better score owns the pixel (the lower index among equals).
    Nothing is read back from the device.

    Args:
        detections: the teacher's, of one image.
        score_threshold: scores must exceed it; one value (paper: 0.9) or one per class.
        valid: False where no object can be (ego vehicle); pseudo-labels have no pixel there.
        min_valid_share: smallest share of a detection's area that must be valid; 0.2 is the
            authors' later code.
        min_visible_share: smallest share of its valid area that better detections must leave to a
            detection; what a dropped one leaves goes to no other.
        unsure_threshold: detections that score more than this, yet do not pass, are ignored
            (id -1) where no pseudo-label is, and so is what dropped ones leave that were too
            little visible. None: all of this is background.

    Returns:
        A map with `len(detections)` slots; ignore pixels only with an `unsure_threshold`.
    """
    unsure, nobody = len(detections), len(detections) + 1  # ranks past those of detections
    order = torch.argsort(detections.scores, descending=True, stable=True)
    passed = detections.scores > _threshold_of(detections, score_threshold)
    rank = torch.where(passed, order.argsort(), nobody)
    if unsure_threshold is not None:
        doubtful = detections.scores > _threshold_of(detections, unsure_threshold)
        rank = torch.where(doubtful & ~passed, unsure, rank)
    winner, areas = _winners(
        detections, rank, valid, min_valid_share, count_areas=min_visible_share > 0
    )
    if min_visible_share > 0:
        visible = torch.zeros_like(areas)
        visible.scatter_add_(0, winner.flatten(), torch.ones_like(winner).flatten())
        kept = (visible > 0) & (visible >= min_visible_share * areas)
    else:  # to be seen at all is enough: nothing to count
        kept = torch.zeros_like(areas, dtype=torch.bool).scatter_(0, winner.flatten(), True)
    kept[unsure:] = False
    left = 0 if unsure_threshold is None else IGNORE_ID
    slots = torch.where(kept[:unsure], order + 1, left)
    id_of_rank = torch.cat([slots, slots.new_full((1,), IGNORE_ID), slots.new_zeros(1)])
    ids = id_of_rank.to(torch.int32)[winner]
    return InstanceMap(ids, torch.where(kept[rank], detections.labels, EMPTY_SLOT))


def _winners(
    detections: Detections,
    rank: Int64[Tensor, " N"],
    valid: Bool[Tensor, "H W"],
    min_valid_share: float,
    *,
    count_areas: bool,
) -> tuple[Int64[Tensor, "H W"], Int64[Tensor, " R"]]:
    """Return the best rank at every pixel, and every rank's valid area before overlaps, or zeros.

    Of a detection's rank N + 1 nothing is seen; it is also what pixels have where nobody is.
    """
    nobody = len(detections) + 1
    winner = torch.full(detections.size, nobody, dtype=torch.int16, device=valid.device)
    areas = torch.zeros(nobody + 1, dtype=torch.int64, device=valid.device)
    for ranks, masks in _ranked_masks(detections, rank, nobody=nobody):
        if count_areas or min_valid_share > 0:
            inside = (masks & valid).sum(dim=(1, 2))
            enough = inside / masks.sum(dim=(1, 2)).clamp(min=1) >= min_valid_share
            ranks = torch.where(enough, ranks, nobody)
            if count_areas:
                areas.scatter_add_(0, ranks, inside)
        ranks = ranks.to(torch.int16)
        winner = torch.minimum(winner, torch.where(masks, ranks[:, None, None], nobody).amin(0))
    return torch.where(valid, winner, nobody).long(), areas


def valid_shares(detections: Detections, valid: Bool[Tensor, "H W"]) -> Float32[Tensor, " N"]:
    """Return the share of every detection's area that is valid, 0 for an empty mask.

    Args:
        detections: of one image.
        valid: False on the ego vehicle.
    """
    stored = _stored_masks(detections)
    shares = [_share(masks, valid) for masks in _chunks(stored, detections.size)]
    of_stored = torch.cat([torch.zeros(0, device=valid.device), *shares])
    return of_stored if detections.query is None else of_stored[detections.query]


def _threshold_of(
    detections: Detections, score_threshold: float | Float32[Tensor, " C"]
) -> float | Float32[Tensor, " N"]:
    """Return the threshold of each detection, or the one of all."""
    if isinstance(score_threshold, Tensor):
        return score_threshold[detections.labels]
    return score_threshold


def _share(masks: Bool[Tensor, "M H W"], valid: Bool[Tensor, "H W"]) -> Float32[Tensor, " M"]:
    """Return the share of each mask's area that is valid, 0 for an empty mask."""
    areas = masks.sum(dim=(1, 2))
    return (masks & valid).sum(dim=(1, 2)) / areas.clamp(min=1)


def _ranked_masks(
    detections: Detections, rank: Int64[Tensor, " N"], *, nobody: int
) -> Iterator[tuple[Int64[Tensor, " M"], Bool[Tensor, "M H W"]]]:
    """Yield masks, some at a time, each with the best rank of the detections that share it.

    Several classes of one query share a mask: the best of them wins all its pixels.
    """
    stored, best = _stored_masks(detections), rank
    if detections.query is not None:
        best = rank.new_full((len(stored),), nobody)
        best = best.scatter_reduce(0, detections.query, rank, "amin")
    if best.device.type == "cpu":  # looking at values is free here: leave out what nobody kept
        stored, best = stored[best < nobody], best[best < nobody]
    start = 0
    for masks in _chunks(stored, detections.size):
        yield best[start : start + len(masks)], masks
        start += len(masks)


def _stored_masks(detections: Detections) -> Tensor:
    """Return the masks (M, H, W) that the detections carry, or else their logits (M, h, w)."""
    stored = detections.mask_logits if detections.masks is None else detections.masks
    assert stored is not None, "Detections carries one of the two"
    return stored


def _chunks(stored: Tensor, size: Size) -> Iterator[Bool[Tensor, "M H W"]]:
    """Yield full-size masks of logits or masks, some at a time."""
    # Masks that are there take no logits at full size: a quarter of the memory.
    limit = CHUNK_PIXELS * (4 if stored.dtype == torch.bool else 1)
    count = max(1, limit // (size[0] * size[1]))
    for start in range(0, len(stored), count):
        part = stored[start : start + count]
        yield part if part.dtype == torch.bool else upsample(part, size) > 0
