"""Mask2Former with Swin or ResNet, by `transformers`: images in, predictions of all layers out.

The network is the library's; normalisation, padding and what a prediction is are ours. Its loss
is not used (see `criterion`), nor its post-processing (see `decode`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation, ResNetBackbone

from uda4inst.classes import EIGHT, NUM_THINGS, THING_NAMES, ThingClasses
from uda4inst.errors import UserError, did_you_mean
from uda4inst.models.mask2former.kernels import DeformableKernel, uses_kernels
from uda4inst.models.mask2former.prediction import MaskProducts, Prediction
from uda4inst.models.mask2former.presets import MODEL_PRESETS, ModelPreset
from uda4inst.models.mask2former.pretrained import CLASS_HEAD, adapt, load_weights
from uda4inst.models.network import LoadReport, Network
from uda4inst.models.pixels import Pixels, cut_padding
from uda4inst.models.resnet import frozen_norms


class Mask2Former(Network):
    """The library's network behind our structures.

    Args:
        preset: which architecture.
        num_classes: thing classes; the network predicts one more, "no object".
        names: of the classes.
        gradient_checkpointing: recompute the backbone's blocks and the pixel decoder's layers in
            the backward pass: less memory, one more forward of these.
        deformable_kernel: what samples the pixel decoder's attention off the CPU: "torch", or
            "triton" in one kernel.
    """

    backbone_prefix = "network.model.pixel_level_module.encoder."
    class_head = tuple(f"network.{name}" for name in CLASS_HEAD)

    def __init__(
        self,
        preset: ModelPreset,
        *,
        num_classes: int = NUM_THINGS,
        names: Sequence[str] = THING_NAMES,
        gradient_checkpointing: bool = False,
        deformable_kernel: DeformableKernel = "torch",
    ) -> None:
        super().__init__()
        self.preset = preset
        self.num_classes = num_classes
        self.network = Mask2FormerForUniversalSegmentation(preset.config(num_classes, names))
        pixel_level = self.network.model.pixel_level_module
        # the library's own layers, whatever stands in their place: see `train`
        self._pixel_layers = tuple(pixel_level.decoder.encoder.layers)
        resnet = isinstance(pixel_level.encoder, ResNetBackbone)
        self._frozen = frozen_norms(pixel_level.encoder) if resnet else ()
        adapt(
            self.network,
            recompute=gradient_checkpointing,
            deformable_kernel=deformable_kernel,
        )
        self.pixels = Pixels()

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What must agree for weights to fit."""
        return {
            "preset": self.preset.name,
            "num_classes": self.num_classes,
            "parameters": sum(p.numel() for p in self.parameters()),
        }

    def train(self, mode: bool = True) -> Mask2Former:
        """Switch between training and evaluation, keeping the pixel decoder free of syncs.

        A ResNet's batch norms stay as they were loaded, as in the authors' COCO training: batches
        of a few large images have no statistics worth following. The pixel decoder's encoder
        layers ask, when training, whether their output is finite, which stops the device once a
        layer. Training mode changes nothing else in them (dropout is 0), and a non-finite loss
        stops the run anyway.
        """
        super().train(mode)
        for layer in (*self._pixel_layers, *self._frozen):
            layer.training = False
        return self

    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> Prediction:
        """Predict classes and masks.

        Args:
            images: RGB in [0, 1], any size; normalised and padded to multiples of 32 in here.

        Returns:
            Predictions of every layer, the last one the final; bf16 under bf16 autocast.
        """
        height, width = images.shape[-2:]
        output = self.network(pixel_values=self.pixels(images), output_auxiliary_logits=True)
        layers = output.auxiliary_logits
        masks = (
            *(layer["masks_queries_logits"] for layer in layers),
            output.masks_queries_logits,
        )
        features = output.pixel_decoder_last_hidden_state
        return Prediction(
            class_logits=torch.stack(
                [*(layer["class_queries_logits"] for layer in layers), output.class_queries_logits]
            ),
            # on a device the decoder returns the queries' embeddings instead
            mask_logits=MaskProducts(torch.stack(masks), features)
            if uses_kernels(features)
            else masks,
            size=(height, width),
        )

    def features(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B C h w"]:
        """Return the feature map of the backbone's last stage."""
        maps = self.network.model.pixel_level_module.encoder(self.pixels(images)).feature_maps
        return cut_padding(maps[-1], images)


def build_model(
    preset: str,
    *,
    weights: str | Path | None,
    num_classes: int | None = None,
    things: ThingClasses = EIGHT,
    gradient_checkpointing: bool = False,
    deformable_kernel: DeformableKernel = "torch",
) -> tuple[Mask2Former, LoadReport]:
    """Build a network and fill it.

    Args:
        preset: one of `MODEL_PRESETS`.
        weights: None for a fresh start (from torch's generator, so seed it first); "toystreets"
            for the small start in the package; a name on the Hugging Face hub such as
            "facebook/mask2former-swin-large-coco-instance"; a folder in that format; or a
            .safetensors file written by `save_network`.
        num_classes: of the head; None for those of `things`. A class head of another size in
            `weights` is not loaded.
        things: the classes, for their names.
        gradient_checkpointing: see `Mask2Former`.
        deformable_kernel: see `Mask2Former`.

    Returns:
        The network in training mode on the CPU, and what was and was not loaded.

    Raises:
        UserError: unknown preset; weights missing, unreadable or of another architecture.
    """
    if preset not in MODEL_PRESETS:
        hint = did_you_mean(preset, MODEL_PRESETS)
        raise UserError(
            f"model.preset must be one of {', '.join(MODEL_PRESETS)}, got {preset!r}.{hint}"
        )
    model = Mask2Former(
        MODEL_PRESETS[preset],
        num_classes=len(things) if num_classes is None else num_classes,
        names=things.names,
        gradient_checkpointing=gradient_checkpointing,
        deformable_kernel=deformable_kernel,
    )
    model.train()
    return model, load_weights(model, weights)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(math.prod(p.shape) for p in model.parameters() if p.requires_grad)
