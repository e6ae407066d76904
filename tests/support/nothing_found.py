"""Detections of nothing at all."""

from __future__ import annotations

import torch

from uda4inst.detections import Detections
from uda4inst.structures import Size


def nothing_found(size: Size) -> Detections:
    """Return no detection on an image of a size, with room for masks."""
    return Detections(
        labels=torch.zeros(0, dtype=torch.int64),
        class_scores=torch.zeros(0),
        mask_scores=torch.zeros(0),
        size=size,
        masks=torch.zeros(0, *size, dtype=torch.bool),
    )
