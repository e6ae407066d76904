"""A fresh network starts as the authors' does, whichever release of the library built it.

Releases before 5.23 draw the queries, the level embeddings and the mask MLP with a standard
deviation of 0.02, and the pixel decoder's level embedding is zero: mask logits of a fresh network
stay under 0.01, where the authors' reach 0.5. The authors keep torch's own start in these parts.

Reference: Cheng et al., Mask2Former, CVPR 2022, and its published code.
"""

from __future__ import annotations

from torch import nn
from transformers import Mask2FormerForUniversalSegmentation


def start_as_published(network: Mask2FormerForUniversalSegmentation) -> None:
    """Draw again, from torch's generator, what the library drew otherwise; often that is nothing.

    Args:
        network: fresh. That its level embedding is zero tells that its release draws otherwise.
    """
    levels = network.model.pixel_level_module.decoder.level_embed
    if levels.any():
        return
    nn.init.normal_(levels)
    transformer = network.model.transformer_module
    for embedding in (
        transformer.queries_embedder,
        transformer.queries_features,
        transformer.level_embed,
    ):
        embedding.reset_parameters()
    for layer in transformer.decoder.mask_predictor.mask_embedder.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
