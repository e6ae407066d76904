"""How far features have moved from those of a frozen network, where things are.

Reference: Hoyer et al., DAFormer, CVPR 2022, sec. 3.4. Pre-training on photographs knows things
that a synthetic source teaches badly; features of source images are held to it, on things alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional as F

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.structures import SemanticMap, Size

# DAFormer's things: Cityscapes' eight, and traffic lights and signs.
FEATURE_THINGS: Final[tuple[int, ...]] = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)
_CLASSES: Final = len(SEMANTIC_CLASSES)


@torch.no_grad()
def thing_positions(
    maps: Sequence[SemanticMap],
    features_size: Size,
    *,
    padded: Size | None = None,
    classes: Sequence[int] = FEATURE_THINGS,
    min_share: float = 0.75,
) -> Bool[Tensor, "B h w"]:
    """Return which positions of a feature map lie on one of some classes.

    A position has the class that most of its pixels have, ignored pixels being a class of their
    own, if their share is large enough. Nothing is read back from the device.

    Args:
        maps: one an image, all of one size.
        features_size: (height, width) of the feature map; a position covers the pixels between
            side * k / positions and side * (k + 1) / positions, rounded outwards.
        padded: (height, width) in pixels that the feature map covers, where the network padded the
            images at the right and the bottom; None for the maps' own.
        classes: trainIds of those wanted.
        min_share: least share of a position's pixels, in (0, 1] (DAFormer: 0.75).
    """
    ids = torch.stack([one.ids for one in maps]).long()
    height, width = padded or maps[0].size
    beyond = (0, width - ids.shape[-1], 0, height - ids.shape[-2])
    ids = F.pad(ids, beyond, value=IGNORE_TRAIN_ID).clamp(max=_CLASSES)
    shares = F.adaptive_avg_pool2d(
        F.one_hot(ids, _CLASSES + 1).movedim(-1, 1).float(), features_size
    )
    share, winner = shares.max(dim=1)
    is_wanted = torch.stack([winner == train_id for train_id in classes]).any(dim=0)
    return is_wanted & (share >= min_share)


def feature_distance(
    features: Float[Tensor, "B D h w"],
    reference: Float[Tensor, "B D h w"],
    positions: Bool[Tensor, "B h w"],
) -> Float32[Tensor, ""]:
    """Return the mean Euclidean distance over channels at some positions of all images.

    A finite 0 with gradient where there is no position. Nothing is read back from the device.

    Args:
        features: of the network that is trained.
        reference: of the frozen one; no gradient flows into it.
        positions: where to look, of `thing_positions`.
    """
    difference = features.float() - reference.detach().float()
    squared = difference.where(positions[:, None], 0).square().sum(dim=1)
    is_apart = squared > 0  # the root has no gradient at 0
    distance = squared.where(is_apart, 1).sqrt().where(is_apart, 0)
    return distance.sum() / positions.sum().clamp(min=1)
