"""SegFormer with a MiT encoder, by `transformers`: images in, class logits out.

The network is the library's; normalisation, padding and what a prediction is are ours. Neither its
loss nor its post-processing is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from jaxtyping import Float32
from torch import Tensor, nn
from transformers import SegformerForSemanticSegmentation

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.errors import UserError, did_you_mean
from uda4inst.models.network import LoadReport, Network
from uda4inst.models.pixels import Pixels, cut_padding
from uda4inst.models.recompute import Recomputed
from uda4inst.models.segformer.presets import SEGFORMER_PRESETS, SegFormerPreset
from uda4inst.models.segformer.pretrained import CLASS_HEAD, load_weights
from uda4inst.models.semantic.prediction import SemanticPrediction


class SegFormer(Network):
    """The library's network behind our structures.

    Args:
        preset: which architecture.
        num_classes: what a pixel can be.
        gradient_checkpointing: recompute the encoder's blocks in the backward pass: less memory,
            one more encoder forward.
    """

    backbone_prefix = "network.segformer."
    class_head = tuple(f"network.{name}" for name in CLASS_HEAD)

    def __init__(
        self,
        preset: SegFormerPreset,
        *,
        num_classes: int = len(SEMANTIC_CLASSES),
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.num_classes = num_classes
        self.network = SegformerForSemanticSegmentation(preset.config(num_classes))
        if gradient_checkpointing:
            for stage in cast("Any", self.network.segformer.stages):
                stage.blocks = nn.ModuleList(Recomputed(block) for block in stage.blocks)
        self.pixels = Pixels()

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What must agree for weights to fit."""
        return {
            "preset": self.preset.name,
            "num_classes": self.num_classes,
            "parameters": sum(p.numel() for p in self.parameters()),
        }

    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> SemanticPrediction:
        """Predict the class of every cell of 4x4 pixels.

        Args:
            images: RGB in [0, 1], any size; normalised and padded to multiples of 32 in here.

        Returns:
            Logits over the padded images; bf16 under bf16 autocast.
        """
        height, width = images.shape[-2:]
        encoded: Any = self.network.segformer(self.pixels(images), output_hidden_states=True)
        logits = self.network.decode_head(encoded.hidden_states)
        return SemanticPrediction(logits, (height, width), features=encoded.hidden_states[-1])

    def features(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B C h w"]:
        """Return the feature map of MiT's last stage."""
        output: Any = self.network.segformer(self.pixels(images))
        return cut_padding(output.last_hidden_state, images)


def build_segformer(
    preset: str,
    *,
    weights: str | Path | None,
    num_classes: int = len(SEMANTIC_CLASSES),
    gradient_checkpointing: bool = False,
) -> tuple[SegFormer, LoadReport]:
    """Build a network and fill it.

    Args:
        preset: one of `SEGFORMER_PRESETS`.
        weights: None for a fresh start (from torch's generator, so seed it first); a name on the
            Hugging Face hub, of an encoder such as "nvidia/mit-b2" or of a whole network such as
            "nvidia/segformer-b2-finetuned-cityscapes-1024-1024"; a folder in that format; or a
            .safetensors file written by `save_network`.
        num_classes: what a pixel can be. A class head of another size in `weights` is not loaded.
        gradient_checkpointing: see `SegFormer`.

    Returns:
        The network in training mode on the CPU, and what was and was not loaded.

    Raises:
        UserError: unknown preset; weights missing, unreadable or of another architecture.
    """
    if preset not in SEGFORMER_PRESETS:
        hint = did_you_mean(preset, SEGFORMER_PRESETS)
        raise UserError(
            f"model.preset must be one of {', '.join(SEGFORMER_PRESETS)}, got {preset!r}.{hint}"
        )
    model = SegFormer(
        SEGFORMER_PRESETS[preset],
        num_classes=num_classes,
        gradient_checkpointing=gradient_checkpointing,
    )
    model.train()
    return model, load_weights(model, weights)
