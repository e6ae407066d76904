"""What the network returns: the one value that loss and decoding read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jaxtyping import Float
from torch import Tensor

from uda4inst.structures import Size

MASK_STRIDE: Final = 4  # image pixels per mask-logit cell


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network says about a batch, after the learnable queries and every decoder layer.

    Args:
        class_logits: per layer, image and query; the last class is "no object".
        mask_logits: a tensor a layer, of every image and query, one cell per 4x4 pixels of the
            *padded* image (`padded_size`); the padding is at the bottom and right. Not one tensor
            of all layers: that would copy them, and their gradients, at 0.15 GiB a layer.
        size: (height, width) of the images, before padding.
    """

    class_logits: Float[Tensor, "L B Q C+1"]
    mask_logits: tuple[Float[Tensor, "B Q h w"], ...]
    size: Size

    @property
    def padded_size(self) -> Size:
        """(height, width) in pixels of what `mask_logits` covers."""
        height, width = self.mask_logits[-1].shape[-2:]
        return height * MASK_STRIDE, width * MASK_STRIDE

    def __len__(self) -> int:
        """Number of images."""
        return self.class_logits.shape[1]

    def final(self) -> Prediction:
        """Return the last layer alone (L = 1): the one that is decoded."""
        return Prediction(self.class_logits[-1:], self.mask_logits[-1:], self.size)

    def select(self, images: slice) -> Prediction:
        """Return some of the images, all layers: splits one joint forward into views."""
        return Prediction(
            self.class_logits[:, images], tuple(m[images] for m in self.mask_logits), self.size
        )
