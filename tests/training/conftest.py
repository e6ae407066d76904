"""A network small enough to save and load in milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from uda4inst.models.mask2former import Mask2Former
from uda4inst.models.presets import ModelPreset

MINI = ModelPreset(
    name="mini",
    embed_dim=8,
    depths=(1, 1, 1, 1),
    heads=(1, 1, 1, 1),
    window=4,
    drop_path=0.0,
    num_queries=4,
    hidden=32,
    attention_heads=1,
    encoder_layers=1,
    encoder_feedforward=8,
    predictions=2,
    feedforward=8,
)


@pytest.fixture
def make_mini() -> Callable[..., Mask2Former]:
    def make(seed: int = 0, num_classes: int = 8) -> Mask2Former:
        torch.manual_seed(seed)
        return Mask2Former(MINI, num_classes=num_classes)

    return make
