"""From the teacher's detections to pseudo-labels: score threshold, valid region, overlaps.

UDA4Inst (arXiv 2405.09682 v1): a detection becomes a pseudo-label when its score, class
probability x mean mask probability, exceeds 0.9. The authors' later code drops detections that
lie on the ego vehicle; overlaps it leaves as they are, here the better score wins each pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from uda4inst.models.decode import upsample
from uda4inst.structures import EMPTY_SLOT, Detections, InstanceMap, Size

# Pixels of masks handled at once: 16 masks of 1024x1024. Its temporaries stay near 200 MB there.
CHUNK_PIXELS: Final = 16 * 1024 * 1024


def select(
    detections: Detections,
    *,
    score_threshold: float | Float32[Tensor, " C"],
    valid: Bool[Tensor, "H W"],
    min_valid_share: float = 0.2,
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

    Returns:
        A map with `len(detections)` slots. No ignore pixels.
    """
    nobody = len(detections)
    order = torch.argsort(detections.scores, descending=True, stable=True)
    passed = detections.scores > _threshold_of(detections, score_threshold)
    rank = torch.where(passed, order.argsort(), nobody)
    winner = torch.full(detections.size, nobody, dtype=torch.int16, device=valid.device)
    for ranks, masks in _ranked_masks(detections, rank, nobody=nobody):
        enough = _share(masks, valid) >= min_valid_share
        ranks = torch.where(enough, ranks, nobody).to(torch.int16)
        winner = torch.minimum(winner, torch.where(masks, ranks[:, None, None], nobody).amin(0))
    winner = torch.where(valid, winner, nobody).long()
    slot_of_rank = torch.cat([order + 1, order.new_zeros(1)]).to(torch.int32)
    ids = slot_of_rank[winner]
    visible = InstanceMap(ids, detections.labels).areas() > 0
    return InstanceMap(ids, torch.where(visible, detections.labels, EMPTY_SLOT))


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
    """Return the logits (Q, h, w) or masks (N, H, W) the detections carry."""
    stored = detections.masks if detections.mask_logits is None else detections.mask_logits
    assert stored is not None, "Detections carries one of the two"
    return stored


def _chunks(stored: Tensor, size: Size) -> Iterator[Bool[Tensor, "M H W"]]:
    """Yield full-size masks of logits or masks, some at a time."""
    count = max(1, CHUNK_PIXELS // (size[0] * size[1]))
    for start in range(0, len(stored), count):
        part = stored[start : start + count]
        yield part if part.dtype == torch.bool else upsample(part, size) > 0
