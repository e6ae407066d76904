"""What a network says of the classes in a batch of images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from uda4inst.structures import Size


@dataclass(frozen=True, slots=True, eq=False)
class SemanticPrediction:
    """Class logits of a batch of images, one a cell.

    The cells lie over images that the network padded at the right and the bottom. Where corners
    are aligned, cell k of a side stands for pixel k x `cell` alone, and h cells for
    (h - 1) x `cell` + 1 pixels; elsewhere cells are squares, and h of them h x `cell` pixels.

    Args:
        logits: over the padded images.
        size: (height, width) of the images before padding.
        cell: pixels from a cell to the next.
        align_corners: whether the outermost cells stand for the outermost pixels.
        features: the backbone's coarsest feature map of the same forward, over the padded images;
            `uda4inst.models.pixels.cut_padding` cuts it. None where a prediction has none of its
            own: that of an auxiliary head.
        aux: what auxiliary heads say in training mode; empty in evaluation mode. How many there are
            depends on the network's preset alone.
    """

    logits: Float[Tensor, "B C h w"]
    size: Size
    cell: int = 4
    align_corners: bool = False
    features: Float[Tensor, "B D i j"] | None = None
    aux: tuple[Auxiliary, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.logits)

    def select(self, images: slice) -> SemanticPrediction:
        """Return the prediction of some of the images, with features and auxiliary heads."""
        return replace(
            self,
            logits=self.logits[images],
            features=None if self.features is None else self.features[images],
            aux=tuple(replace(a, prediction=a.prediction.select(images)) for a in self.aux),
        )

    def at_pixels(self) -> Float[Tensor, "B C H W"]:
        """Return float32 logits of every pixel: resized bilinearly, without the padding."""
        height, width = self.size
        more = 1 - self.cell if self.align_corners else 0
        padded = tuple(side * self.cell + more for side in self.logits.shape[-2:])
        full = F.interpolate(
            self.logits.float(), size=padded, mode="bilinear", align_corners=self.align_corners
        )
        return full[..., :height, :width]

    def classes(self) -> list[UInt8[Tensor, "H W"]]:
        """Return the likeliest class of every pixel, image after image to spare memory."""
        parts = (self.select(slice(index, index + 1)) for index in range(len(self)))
        return [part.at_pixels()[0].argmax(dim=0).to(torch.uint8) for part in parts]


@dataclass(frozen=True, slots=True, eq=False)
class Auxiliary:
    """What an auxiliary head says, and how much it counts.

    Args:
        prediction: of the same images, without features and further heads.
        weight: of its cross-entropy beside that of the network's own prediction.
    """

    prediction: SemanticPrediction
    weight: float
