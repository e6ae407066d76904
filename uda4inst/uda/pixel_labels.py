"""Pseudo-labels of pixels: the most likely class, how sure it is, and how much that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float16, Float32, UInt8
from pydantic import Field
from torch import Tensor

from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.settings import Settings
from uda4inst.structures import SemanticMap, TargetSample


@dataclass(frozen=True, slots=True, eq=False)
class PixelLabels:
    """What a network says of the pixels of an unlabelled image, and what of it is learned.

    Args:
        best: the most likely class of every pixel, a trainId.
        confidence: its probability.
        learned: what training is told: 255 where the label was dropped, with weights where pixels
            count less than others.
    """

    best: UInt8[Tensor, "H W"]
    confidence: Float16[Tensor, "H W"]
    learned: SemanticMap


class QualityConfig(Settings):
    """How much a target image's pseudo-labels count: the share of them that is sure."""

    threshold: float = Field(
        default=0.968,
        ge=0,
        le=1,
        description="A pixel is sure where the teacher's highest class probability is at least "
        "this (DACS, DAFormer: 0.968). Every pixel counts by the share of the sure ones.",
    )
    over: Literal["image", "batch"] = Field(
        default="image",
        description="Whose share: each image's own (the papers), or the whole batch's (the "
        "authors' code).",
    )
    hidden_rows: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = Field(
        default=(0, 0),
        description="Rows at the top and the bottom of a target crop that do not count, for crops "
        "of full height (DAFormer's code: 15 and 120 of 512).",
    )
    leave_out_ego: bool = Field(
        default=False,
        description="Pixels on the ego vehicle and where the crop is padded do not count (ours).",
    )


def pixel_labels(prediction: SemanticPrediction) -> tuple[PixelLabels, ...]:
    """Return the most likely class of every pixel, all of which are learned alike.

    Args:
        prediction: of target images, without gradient.
    """
    confidence, best = prediction.at_pixels().softmax(dim=1).max(dim=1)
    return tuple(
        PixelLabels(ids, sure, SemanticMap(ids))
        for ids, sure in zip(best.to(torch.uint8), confidence.half(), strict=True)
    )


def weigh_by_quality(
    labels: Sequence[PixelLabels], target: Sequence[TargetSample], config: QualityConfig
) -> tuple[PixelLabels, ...]:
    """Return the labels, every pixel counting by the share of pixels that are sure.

    The share is of all pixels of the image, hidden ones too. Nothing is read back from the device.

    Args:
        labels: one a target image.
        target: the images.
        config: threshold, and what does not count.

    Reference: Tranheden et al., DACS, WACV 2021; Hoyer et al., DAFormer, CVPR 2022, eq. 4.
    """
    shares = [(known.confidence >= config.threshold).float().mean() for known in labels]
    if config.over == "batch":
        shares = [torch.stack(shares).mean()] * len(shares)
    return tuple(
        replace(known, learned=SemanticMap(known.learned.ids, share * _counting(sample, config)))
        for known, sample, share in zip(labels, target, shares, strict=True)
    )


def _counting(sample: TargetSample, config: QualityConfig) -> Float32[Tensor, "H W"]:
    """Return 1 where a pixel of a target image counts, else 0."""
    counting = sample.valid.float() if config.leave_out_ego else torch.ones_like(sample.image[0])
    top, bottom = config.hidden_rows
    height = len(counting)
    counting[:top] = 0
    counting[max(0, height - bottom) :] = 0
    return counting
