"""Pseudo-labels of pixels that are as sure as half of their class.

Reference: the Meta Pseudo Labels report for real-time segmentation, and its code (commit 1c64801).
There a class that an image does not show shifts the thresholds of all that follow it; not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from uda4inst.classes import IGNORE_TRAIN_ID


@dataclass(frozen=True, slots=True, eq=False)
class PixelPseudoLabels:
    """The classes of a batch's pixels as far as they are sure.

    Args:
        ids: trainIds, 255 where unsure.
        best: the likeliest class, sure or not.
        confidence: probability of the likeliest class, sure or not, in [0, 1].
        thresholds: least confidence of every class, by image; NaN where an image does not show it.
    """

    ids: UInt8[Tensor, "B H W"]
    best: UInt8[Tensor, "B H W"]
    confidence: Float32[Tensor, "B H W"]
    thresholds: Float32[Tensor, "B C"]


@torch.no_grad()
def class_thresholded(
    logits: Float[Tensor, "B C H W"],
    *,
    highest: float = 0.9,
    over: Literal["image", "batch"] = "image",
    valid: Bool[Tensor, "B H W"] | None = None,
) -> PixelPseudoLabels:
    """Return the likeliest class of every pixel that is at least as sure as its class's threshold.

    The threshold of a class is the lower median of the confidence of the pixels predicted as it,
    but never above `highest`. Nothing is read back from the device.

    Args:
        logits: of every pixel.
        highest: cap of the thresholds, in [0, 1] (0.9).
        over: what a median is taken over, the pixels of an image or of the whole batch.
        valid: False where no pixel is labelled or counted, as on the ego vehicle; None for nowhere.
    """
    batch, classes, height, width = logits.shape
    confidence, winner = logits.float().softmax(dim=1).max(dim=1)
    labels = winner if valid is None else winner.where(valid, classes)
    rows = batch if over == "image" else 1
    medians = _lower_medians(labels.reshape(rows, -1), confidence.reshape(rows, -1), classes)
    thresholds = medians.clamp(max=highest).expand(batch, classes)
    least = torch.cat([thresholds, thresholds.new_full((batch, 1), torch.inf)], dim=1)
    is_sure = confidence >= least.gather(1, labels.reshape(batch, -1)).view(batch, height, width)
    ids = winner.where(is_sure, IGNORE_TRAIN_ID).to(torch.uint8)
    return PixelPseudoLabels(ids, winner.to(torch.uint8), confidence, thresholds)


def _lower_medians(
    labels: Int64[Tensor, "R N"], values: Float32[Tensor, "R N"], classes: int
) -> Float32[Tensor, "R C"]:
    """Return the lower median of every class's values by row; labels of `classes` are nobody's."""
    values, order = values.sort(dim=1)
    labels, by_class = labels.gather(1, order).sort(dim=1, stable=True)
    values = values.gather(1, by_class)
    counts = labels.new_zeros(len(labels), classes + 1)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    counts = counts[:, :classes]
    middle = counts.cumsum(dim=1) - counts + (counts - 1).clamp(min=0) // 2
    medians = values.gather(1, middle.clamp(max=values.shape[1] - 1))
    return medians.where(counts > 0, torch.nan)
