"""What the network returns: the one value that loss and decoding read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, overload

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from uda4inst.models.mask2former.points import sample_logits
from uda4inst.structures import Size

MASK_STRIDE: Final = 4  # image pixels per mask-logit cell


@dataclass(frozen=True, slots=True, eq=False)
class MaskProducts(Sequence[Tensor]):
    """Mask logits of every layer as the factors they are products of, multiplied when asked for.

    A sequence of one tensor a layer, as the logits themselves are. The loss reads logits at points
    alone, and bilinear sampling and the product can change places: the features are sampled, once
    for all queries and layers, and the logits of whole maps, 0.15 GiB a layer, are never there.

    Args:
        embeddings: of every layer's queries.
        features: of every mask cell.
    """

    embeddings: Float[Tensor, "L B Q D"]
    features: Float[Tensor, "B D h w"]

    def __len__(self) -> int:
        """Number of layers."""
        return len(self.embeddings)

    @overload
    def __getitem__(self, index: int) -> Float[Tensor, "B Q h w"]: ...
    @overload
    def __getitem__(self, index: slice) -> MaskProducts: ...
    def __getitem__(self, index: int | slice) -> Tensor | MaskProducts:
        """Return the logits of one layer, or some layers."""
        if isinstance(index, slice):
            return MaskProducts(self.embeddings[index], self.features)
        with torch.autocast(self.features.device.type, enabled=False):
            logits = torch.bmm(self.embeddings[index], self.features.flatten(2))
        return logits.unflatten(2, self.features.shape[2:])

    def select(self, images: slice) -> MaskProducts:
        """Return some of the images, all layers."""
        return MaskProducts(self.embeddings[:, images], self.features[images])

    def features_at(self, points: Float32[Tensor, "B P 2"]) -> Float32[Tensor, "B D P"]:
        """Return the features at points of each image, bilinear."""
        return sample_logits(self.features.float(), points)


MaskLogits = MaskProducts | tuple[Float[Tensor, "B Q h w"], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network says about a batch, after the learnable queries and every decoder layer.

    Args:
        class_logits: per layer, image and query; the last class is "no object".
        mask_logits: a tensor a layer, of every image and query, one cell per 4x4 pixels of the
            *padded* image (`padded_size`); the padding is at the bottom and right. On a device
            products that are not made before they are asked for.
        size: (height, width) of the images, before padding.
    """

    class_logits: Float[Tensor, "L B Q C+1"]
    mask_logits: MaskLogits
    size: Size

    @property
    def padded_size(self) -> Size:
        """(height, width) in pixels of what `mask_logits` covers."""
        masks = self.mask_logits
        cells = masks.features if isinstance(masks, MaskProducts) else masks[-1]
        height, width = cells.shape[-2:]
        return height * MASK_STRIDE, width * MASK_STRIDE

    def __len__(self) -> int:
        """Number of images."""
        return self.class_logits.shape[1]

    def final(self) -> Prediction:
        """Return the last layer alone (L = 1): the one that is decoded."""
        return Prediction(self.class_logits[-1:], self.mask_logits[-1:], self.size)

    def select(self, images: slice) -> Prediction:
        """Return some of the images, all layers: splits one joint forward into views."""
        masks = self.mask_logits
        return Prediction(
            self.class_logits[:, images],
            masks.select(images)
            if isinstance(masks, MaskProducts)
            else tuple(layer[images] for layer in masks),
            self.size,
        )
