"""Which part of a source image is cut out, where what it shows of its classes matters.

Reference: Hoyer et al., DAFormer, CVPR 2022, and its code: a crop chosen for a rare class must
show enough of it, and no crop may show one class almost alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.ops.geometric import GeometricPolicy, Transform

_CLASSES: Final = len(SEMANTIC_CLASSES)
_AGAIN: Final = 10  # times a crop is drawn again, by either rule (DAFormer's code)


@dataclass(frozen=True, slots=True)
class CropRules:
    """What a source crop must show.

    Args:
        policy: what is drawn from.
        max_class_share: largest share of the labelled pixels that one class may have, in (0, 1];
            None for no such rule. DAFormer: 0.75.
        class_pixels: a crop that is drawn for a class must show more of its pixels than this.
            DAFormer: 1500, half of what its image must show.
    """

    policy: GeometricPolicy
    max_class_share: float | None
    class_pixels: float

    def draw(
        self,
        semantic: NDArray[np.uint8],
        *,
        wanted: int | None,
        generator: np.random.Generator,
        again: np.random.Generator,
    ) -> Transform:
        """Return a drawn transform; where ten more keep no rule either, the last one.

        The first is the policy's own. While one class fills it, another place is drawn for the
        crop; then, while it shows too little of the wanted class, another transform is drawn, whose
        place is chosen likewise.

        Args:
            semantic: trainIds, 255 ignore, (H, W).
            wanted: class that the image was chosen for; None where it was not.
            generator: for the first, which always takes four numbers.
            again: for all others.
        """
        size = (semantic.shape[0], semantic.shape[1])
        drawn = self._mixed(self.policy.draw(size, generator), semantic, again)
        if wanted is None:
            return drawn
        for _ in range(_AGAIN):
            if _pixels(drawn, semantic)[wanted] > self.class_pixels:
                break
            drawn = self._mixed(self.policy.draw(size, again), semantic, again)
        return drawn

    def _mixed(
        self, drawn: Transform, semantic: NDArray[np.uint8], again: np.random.Generator
    ) -> Transform:
        """Return the transform, its crop moved while one class fills it or nothing is labelled."""
        if self.max_class_share is None:
            return drawn
        for _ in range(_AGAIN):
            pixels = _pixels(drawn, semantic)
            if pixels.any() and pixels.max() <= self.max_class_share * pixels.sum():
                break
            drawn = self.policy.draw_place(drawn, again)
        return drawn


def _pixels(transform: Transform, semantic: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the pixels of every class in a crop, (19,)."""
    crop = transform.map(semantic, fill=IGNORE_TRAIN_ID)
    return np.bincount(crop.ravel(), minlength=_CLASSES)[:_CLASSES]
