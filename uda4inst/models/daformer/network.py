"""DAFormer: MiT by `transformers`, and its own head: images in, class logits out.

Departure: none in the arithmetic. The published code pads nothing, and has crops whose sides are
multiples of 32; here other images are padded.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float32
from torch import Tensor
from transformers import SegformerConfig, SegformerModel

from uda4inst.models.daformer.head import FusionHead
from uda4inst.models.network import LoadReport
from uda4inst.models.pixels import Pixels, cut_padding
from uda4inst.models.segformer.mit import recompute_blocks, set_published_eps
from uda4inst.models.semantic.checkpoint import load_backbone
from uda4inst.models.semantic.network import SemanticNetwork, SemanticPreset
from uda4inst.models.semantic.prediction import SemanticPrediction


class DAFormerNetwork(SemanticNetwork):
    """Encoder and head.

    Args:
        preset: which architecture.
        config: the library's of the encoder.
        head: on the encoder's four levels.
        num_classes: what a pixel can be.
        gradient_checkpointing: recompute the encoder's blocks in the backward pass.
    """

    backbone_prefix = "encoder."
    class_head = ("head.classifier.weight", "head.classifier.bias")

    def __init__(
        self,
        preset: SemanticPreset,
        config: SegformerConfig,
        head: FusionHead,
        *,
        num_classes: int,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.num_classes = num_classes
        self.encoder = SegformerModel(config)
        set_published_eps(self.encoder)
        if gradient_checkpointing:
            recompute_blocks(self.encoder)
        self.head = head
        self.pixels = Pixels()

    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> SemanticPrediction:
        """Predict the class of every cell of 4x4 pixels. See `SemanticNetwork.forward`."""
        height, width = images.shape[-2:]
        encoded: Any = self.encoder(self.pixels(images), output_hidden_states=True)
        logits = self.head(encoded.hidden_states)
        return SemanticPrediction(logits, (height, width), features=encoded.hidden_states[-1])

    def features(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B C h w"]:
        """Return the feature map of MiT's last stage."""
        output: Any = self.encoder(self.pixels(images))
        return cut_padding(output.last_hidden_state, images)

    def load_checkpoint(self, name: str, *, source: str) -> LoadReport:
        """Fill the encoder from a MiT, or from whatever was built on one."""
        return load_backbone(self, name, source=source)
