"""SegFormer with a MiT encoder, by `transformers`: images in, class logits out.

The network is the library's; normalisation, padding and what a prediction is are ours. Neither its
loss nor its post-processing is used.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float32
from torch import Tensor
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from uda4inst.models.network import LoadReport
from uda4inst.models.pixels import Pixels, cut_padding
from uda4inst.models.segformer.mit import recompute_blocks
from uda4inst.models.segformer.pretrained import CLASS_HEAD, load_segformer
from uda4inst.models.semantic.network import SemanticNetwork, SemanticPreset
from uda4inst.models.semantic.prediction import SemanticPrediction


class SegFormer(SemanticNetwork):
    """The library's network behind our structures.

    Args:
        preset: which architecture.
        config: the library's of it.
        num_classes: what a pixel can be.
        gradient_checkpointing: recompute the encoder's blocks in the backward pass: less memory,
            one more encoder forward.
    """

    backbone_prefix = "network.segformer."
    class_head = tuple(f"network.{name}" for name in CLASS_HEAD)

    def __init__(
        self,
        preset: SemanticPreset,
        config: SegformerConfig,
        *,
        num_classes: int,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.num_classes = num_classes
        self.network = SegformerForSemanticSegmentation(config)
        if gradient_checkpointing:
            recompute_blocks(self.network.segformer)
        self.pixels = Pixels()

    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> SemanticPrediction:
        """Predict the class of every cell of 4x4 pixels. See `SemanticNetwork.forward`."""
        height, width = images.shape[-2:]
        encoded: Any = self.network.segformer(self.pixels(images), output_hidden_states=True)
        logits = self.network.decode_head(encoded.hidden_states)
        return SemanticPrediction(logits, (height, width), features=encoded.hidden_states[-1])

    def features(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B C h w"]:
        """Return the feature map of MiT's last stage."""
        output: Any = self.network.segformer(self.pixels(images))
        return cut_padding(output.last_hidden_state, images)

    def load_checkpoint(self, name: str, *, source: str) -> LoadReport:
        """Fill the network from a whole SegFormer, or its encoder from a MiT."""
        return load_segformer(self, self.network, name, source=source)
