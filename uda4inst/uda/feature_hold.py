"""Holds a network's features of things to those it began with: the term and its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor, nn

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.models.network import FeaturesOnly, Network
from uda4inst.models.pixels import STRIDE, cut_padding
from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.settings import Settings
from uda4inst.structures import SemanticMap
from uda4inst.uda.feature_distance import FEATURE_THINGS, feature_distance, thing_positions

_EVERY: Final = tuple(range(len(SEMANTIC_CLASSES)))


class FeatureDistanceConfig(Settings):
    """The distance of source features from those of the network the run started from."""

    weight: float = Field(
        default=0.005,
        ge=0,
        le=10,
        description="Of the distance in the loss (DAFormer: 0.005); 0 leaves it out.",
    )
    classes: Literal["things", "all"] = Field(
        default="things",
        description="Where it is taken: on traffic lights, signs and Cityscapes' eight things "
        "(DAFormer), or on every class (its ablation).",
    )
    min_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="A cell of the feature map counts where one class has at least this share of "
        "its pixels (DAFormer: 0.75).",
    )


class FeatureHold:
    """The frozen network and the distance to it.

    Args:
        start: the network as the run started from it.
        infer: runs it, see `uda4inst.methods.base.MethodContext`.
        config: where, and how much.
    """

    def __init__(
        self,
        start: Network,
        *,
        infer: Callable[[nn.Module, Tensor], Any],
        config: FeatureDistanceConfig,
    ) -> None:
        self.start = FeaturesOnly(start).requires_grad_(False).eval()
        self.infer = infer
        self.config = config

    def __call__(
        self,
        prediction: SemanticPrediction,
        images: Float32[Tensor, "B 3 H W"],
        maps: Sequence[SemanticMap],
    ) -> Float32[Tensor, ""]:
        """Return the mean distance; a finite 0 with gradient where no cell counts.

        Args:
            prediction: the student's of these images, with features.
            images: source images, RGB in [0, 1].
            maps: their classes.

        Raises:
            ValueError: the prediction has no features.
        """
        if prediction.features is None:
            raise ValueError("prediction must have features for their distance, got none.")
        padded = -(-images.shape[-2] // STRIDE) * STRIDE
        cell = padded // prediction.features.shape[-2]
        own = cut_padding(prediction.features, images, cell=cell)
        with torch.no_grad():
            frozen = self.infer(self.start, images)
        height, width = own.shape[-2:]
        positions = thing_positions(
            maps,
            (height, width),
            padded=(height * cell, width * cell),
            classes=FEATURE_THINGS if self.config.classes == "things" else _EVERY,
            min_share=self.config.min_share,
        )
        return feature_distance(own, frozen, positions)
