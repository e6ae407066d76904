"""The id maps of one view as the loss takes them: stacked, their slots padded to one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from torch.nn import functional as F

from uda4inst.models.mask2former.matching import Match
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import EMPTY_SLOT, IGNORE_ID, InstanceMap, Size

# Where empty slots are thrown out before any work: looking at values is free there, and a pseudo-
# label map has a hundred slots of which a few are filled. A GPU would have to stop for it.
_COMPACT_ON: Final = frozenset({"cpu"})

SlotWeights = Sequence[Float32[Tensor, " _"]]
Where = Sequence[Bool[Tensor, "H W"]]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The id maps of one view, flattened, their slots padded to one number with empty ones."""

    ids: Int64[Tensor, "B HW"]
    labels: Int64[Tensor, "B N"]
    alive: Bool[Tensor, "B N"]
    ignores: Bool[Tensor, ""]
    size: Size
    weights: Float32[Tensor, "B N"] | None
    scales: Float32[Tensor, "B N"] | None
    candidates: Bool[Tensor, "B HW"] | None

    def count(self) -> Tensor:
        """Return how many masks there are, each counting as much as its mask is scaled."""
        return self.alive.sum() if self.scales is None else (self.alive * self.scales).sum()

    def mask_weights(self, match: Match) -> Float32[Tensor, " K"] | None:
        """Return how much each matched mask counts; None: all of them 1."""
        given = [values for values in (self.weights, self.scales) if values is not None]
        of_match = [values[match.image, match.slot] for values in given]
        return reduce(torch.mul, of_match) if of_match else None


def pack(
    prediction: Prediction,
    targets: Sequence[InstanceMap],
    weights: SlotWeights | None,
    scales: SlotWeights | None,
    candidates: Where | None,
) -> Targets:
    """Stack the id maps of one view and pad their slots with empty ones."""
    if len(targets) != len(prediction):
        raise ValueError(
            f"targets must number {len(prediction)}, one per image, got {len(targets)}."
        )
    sizes = {target.size for target in targets}
    if sizes != {prediction.size}:
        raise ValueError(f"targets must have the images' size {prediction.size}, got {sizes}.")
    _check_slots("slot_weights", weights, targets)
    _check_slots("mask_scales", scales, targets)
    if candidates is not None and [w.shape for w in candidates] != [t.ids.shape for t in targets]:
        raise ValueError(
            f"candidates must be {len(targets)} of size {prediction.size}, one per image, "
            f"got {[tuple(w.shape) for w in candidates]}."
        )
    if prediction.class_logits.device.type in _COMPACT_ON:
        kept = [target.areas() > 0 for target in targets] if weights or scales else []
        if weights is not None:
            weights = [w[k] for w, k in zip(weights, kept, strict=True)]
        if scales is not None:
            scales = [s[k] for s, k in zip(scales, kept, strict=True)]
        targets = [target.compact() for target in targets]
    slots = max(len(target) for target in targets)
    labels = torch.stack(
        [F.pad(target.labels, (0, slots - len(target)), value=EMPTY_SLOT) for target in targets]
    )
    ids = torch.stack([target.ids for target in targets]).flatten(1).long()
    owned = torch.zeros((len(targets), slots + 2), dtype=torch.bool, device=ids.device)
    owned.scatter_(1, ids - IGNORE_ID, True)
    return Targets(
        ids=ids,
        labels=labels,
        alive=owned[:, 2:] & (labels >= 0),
        ignores=owned[:, 0].any(),
        size=prediction.size,
        weights=_padded(weights, slots),
        scales=_padded(scales, slots),
        candidates=None if candidates is None else torch.stack(list(candidates)).flatten(1),
    )


def _check_slots(name: str, values: SlotWeights | None, targets: Sequence[InstanceMap]) -> None:
    """Raise unless there is one value per slot of each target."""
    if values is not None and [len(v) for v in values] != [len(t) for t in targets]:
        raise ValueError(
            f"{name} must number {[len(t) for t in targets]}, one per slot of each target, "
            f"got {[len(v) for v in values]}."
        )


def _padded(values: SlotWeights | None, slots: int) -> Float32[Tensor, "B N"] | None:
    """Return the values of all slots, those of slots that are not there 1."""
    if values is None:
        return None
    return torch.stack([F.pad(v, (0, slots - len(v)), value=1.0) for v in values])
