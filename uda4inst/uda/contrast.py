"""Contrast between two views of the same images, on class probabilities.

Reference: Li et al., EHTDI, ACM MM 2022, and its code (commit 862502b). Both levels are InfoNCE
with dot products of softmax vectors, one a position or one a class, and no projection head. Where
the code takes the first image of a batch alone for the classes, all images are taken here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional as F

from uda4inst.classes import IGNORE_TRAIN_ID
from uda4inst.structures import SemanticMap

_NEVER: Final = -1e9  # logit of what is no candidate: finite, so that empty rows have gradients


def position_contrast(
    one: Float[Tensor, "B C h w"], other: Float[Tensor, "B C h w"], *, temperature: float = 0.05
) -> Float32[Tensor, ""]:
    """Return InfoNCE between the positions of two views, averaged over positions and images.

    A position's positive is the same one in the other view; its negatives are all others of both
    views of its image. Gradient flows into both. An image takes (2 h w) x (2 h w) similarities.

    Args:
        one: class logits of one view.
        other: of the other view, aligned with it.
        temperature: EHTDI: 0.05.
    """
    probabilities = torch.stack([one, other]).float().softmax(dim=2)
    vectors = probabilities.flatten(3).permute(1, 0, 3, 2).flatten(1, 2)  # image, view x position
    everyone = vectors.new_ones(vectors.shape[1], dtype=torch.bool)
    losses = [_info_nce(image, everyone, temperature) for image in vectors]
    return torch.stack(losses).mean()


def prototype_contrast(
    one: Float[Tensor, "B C h w"],
    other: Float[Tensor, "B C h w"],
    maps: Sequence[SemanticMap],
    *,
    temperature: float = 0.143,
) -> Float32[Tensor, ""]:
    """Return InfoNCE between the classes of two views, averaged over classes and images.

    A class's prototype is the softmax of its positions' mean logits. Its positive is its own in the
    other view, its negatives are those of the other classes of its image in both. A finite 0 with
    gradient where no class is known. Nothing is read back from the device.

    Args:
        one: class logits of one view.
        other: of the other view, aligned with it.
        maps: classes of both views, one an image, 255 where unknown; of any size, a position has
            the class of the pixel at its top left corner.
        temperature: EHTDI: 0.143 (a scale of 7).
    """
    height, width = one.shape[-2:]
    classes = one.shape[1]
    labels = torch.stack([_nearest(found, height, width) for found in maps]).long()
    known = labels != IGNORE_TRAIN_ID
    owned = F.one_hot(labels.where(known, classes), classes + 1)[..., :classes].float()
    pixels = owned.sum(dim=(1, 2))
    means = [
        torch.einsum("bhwk,bchw->bkc", owned, view.float()) / pixels.clamp(min=1)[..., None]
        for view in (one, other)
    ]
    vectors = torch.cat(means, dim=1).softmax(dim=-1)
    present = (pixels > 0).repeat(1, 2)
    losses = [
        _info_nce(image, is_there, temperature)
        for image, is_there in zip(vectors, present, strict=True)
    ]
    return torch.stack(losses).mean()


def _info_nce(
    vectors: Float32[Tensor, "M C"], present: Bool[Tensor, " M"], temperature: float
) -> Float32[Tensor, ""]:
    """Return the mean over present vectors; the positive of each is half of all further on."""
    similarity = vectors @ vectors.T / temperature
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similarity = similarity.masked_fill(itself | ~present, _NEVER)
    positives = torch.arange(len(vectors), device=vectors.device).roll(len(vectors) // 2)
    losses = F.cross_entropy(similarity, positives, reduction="none")
    return losses.where(present, 0).sum() / present.sum().clamp(min=1)


def _nearest(found: SemanticMap, height: int, width: int) -> Tensor:
    """Return a map at another size, every position the pixel at its top left corner."""
    rows = torch.arange(height, device=found.ids.device) * found.size[0] // height
    columns = torch.arange(width, device=found.ids.device) * found.size[1] // width
    return found.ids[rows[:, None], columns]
