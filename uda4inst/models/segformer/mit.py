"""MiT, the encoder of SegFormer and of what is built on it, by `transformers`."""

from __future__ import annotations

from typing import Any, Final, cast

from torch import nn
from transformers import SegformerModel

from uda4inst.models.recompute import Recomputed

# Of the norms of blocks and of stages in SegFormer's published code; the library has 1e-5, which is
# also theirs after patch embedding and after the reduction of keys and values.
PUBLISHED_EPS: Final = 1e-6


def recompute_blocks(encoder: SegformerModel) -> None:
    """Have the blocks of an encoder computed again in the backward pass; names of weights stay."""
    for stage in cast("Any", encoder.stages):
        stage.blocks = nn.ModuleList(Recomputed(block) for block in stage.blocks)


def set_published_eps(encoder: SegformerModel) -> None:
    """Give the norms of blocks and of stages the epsilon that they were published with."""
    for stage in cast("Any", encoder.stages):
        norms = [stage.layer_norm]
        norms += [
            n for block in stage.blocks for n in (block.layernorm_before, block.layernorm_after)
        ]
        for norm in norms:
            norm.eps = PUBLISHED_EPS
