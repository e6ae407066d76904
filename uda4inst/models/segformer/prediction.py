"""What a SegFormer says of a batch of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from uda4inst.structures import Size

CELL: Final = 4  # pixels a side of one cell of logits


@dataclass(frozen=True, slots=True, eq=False)
class SemanticPrediction:
    """Class logits of a batch of images, one a cell of 4x4 pixels.

    Args:
        logits: over the padded images.
        size: (height, width) of the images before padding.
    """

    logits: Float[Tensor, "B C h w"]
    size: Size

    def __len__(self) -> int:
        """Number of images."""
        return len(self.logits)

    def select(self, images: slice) -> SemanticPrediction:
        """Return the prediction of some of the images."""
        return replace(self, logits=self.logits[images])

    def at_pixels(self) -> Float[Tensor, "B C H W"]:
        """Return float32 logits of every pixel: resized bilinearly, without the padding."""
        height, width = self.size
        padded = (self.logits.shape[-2] * CELL, self.logits.shape[-1] * CELL)
        full = F.interpolate(self.logits.float(), size=padded, mode="bilinear", align_corners=False)
        return full[..., :height, :width]
