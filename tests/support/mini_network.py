"""A Mask2Former small enough to train, save and load in milliseconds."""

from __future__ import annotations

from dataclasses import replace

from uda4inst.models.mask2former.presets import ModelPreset, SwinSize

MINI = ModelPreset(
    name="mini",
    backbone=SwinSize(
        embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4, drop_path=0.0
    ),
    num_queries=4,
    hidden=32,
    attention_heads=1,
    encoder_layers=1,
    encoder_feedforward=8,
    predictions=2,
    feedforward=8,
)
# Takes the place of the tiny preset where many runs are needed.
TINY_MINI = replace(MINI, name="tiny")
