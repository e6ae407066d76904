"""What a network finds on one image: scored, possibly overlapping, frozen, checked when built.

Shapes are written as in jaxtyping: N detections, M stored masks of h, w or H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from uda4inst.structures import Size, describe, require


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Scored, possibly overlapping predictions on one image, best score first.

    Args:
        labels: thing index 0..7.
        class_scores: softmax probability of the class, in [0, 1].
        mask_scores: mean sigmoid over the pixels of the mask, in [0, 1]; 0 for an empty mask.
        mask_logits: low-resolution logits of the masks; None where only `masks` are known.
        query: place of each detection's mask in `mask_logits` and `masks`: detections of one query
            share theirs. None: each has its own, in order.
        masks: full-size boolean masks; None where they have to be upsampled from `mask_logits`.
        size: (height, width) of the image the masks belong to.

    Raises:
        ValueError: shapes disagree, or there are neither `masks` nor `mask_logits`.
    """

    labels: Int64[Tensor, " N"]
    class_scores: Float32[Tensor, " N"]
    mask_scores: Float32[Tensor, " N"]
    size: Size
    mask_logits: Float32[Tensor, "M h w"] | None = None
    query: Int64[Tensor, " N"] | None = None
    masks: Bool[Tensor, "M H W"] | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        require(
            self.labels.dtype == torch.int64, "Detections.labels", "be int64", self.labels.dtype
        )
        for name in ("class_scores", "mask_scores"):
            value: Tensor = getattr(self, name)
            require(
                value.dtype == torch.float32 and tuple(value.shape) == (count,),
                f"Detections.{name}",
                f"be float32 of shape ({count},)",
                describe(value),
            )
        stored = self.masks if self.mask_logits is None else self.mask_logits
        if stored is None:
            raise ValueError("Detections must carry masks or mask_logits, got neither.")
        if self.query is None:
            require(len(stored) == count, "Detections", "have query or a mask each", len(stored))
        else:
            require(
                tuple(self.query.shape) == (count,),
                "Detections.query",
                f"be int64 of shape ({count},)",
                describe(self.query),
            )
        if self.masks is not None:
            require(
                self.masks.dtype == torch.bool
                and tuple(self.masks.shape) == (len(stored), *self.size),
                "Detections.masks",
                f"be bool of shape {(len(stored), *self.size)}",
                describe(self.masks),
            )

    def without_masks(self) -> Detections:
        """Return the same with logits alone, where there are any: a sixteenth of the pixels."""
        return self if self.mask_logits is None else replace(self, masks=None)

    @property
    def scores(self) -> Float32[Tensor, " N"]:
        """Class probability times mean mask probability (the score every rule uses)."""
        return self.class_scores * self.mask_scores

    def __len__(self) -> int:
        """Number of detections."""
        return len(self.labels)
