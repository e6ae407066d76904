"""Cross-entropy of every pixel, at the image's own size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional as F

from uda4inst.classes import IGNORE_TRAIN_ID
from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.structures import SemanticMap


def pixel_cross_entropy(
    prediction: SemanticPrediction, targets: Sequence[SemanticMap]
) -> Float32[Tensor, ""]:
    """Return the mean of weight x cross-entropy over the pixels that are not ignored.

    A finite 0 with gradient where every pixel is ignored. Weights scale the sum, not the count, so
    an image of small weights counts little. Nothing is read back from the device.

    Args:
        prediction: of a batch of images.
        targets: one an image, of its size.
    """
    logits = prediction.at_pixels()
    ids = torch.stack([target.ids for target in targets]).long()
    losses = F.cross_entropy(logits, ids, ignore_index=IGNORE_TRAIN_ID, reduction="none")
    if any(target.weights is not None for target in targets):
        losses = losses * torch.stack([_weights_of(target) for target in targets])
    return losses.sum() / (ids != IGNORE_TRAIN_ID).sum().clamp(min=1)


def _weights_of(target: SemanticMap) -> Float32[Tensor, "H W"]:
    """Return the weight of every pixel."""
    if target.weights is not None:
        return target.weights
    return torch.ones(target.size, device=target.ids.device)
