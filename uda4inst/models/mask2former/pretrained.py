"""Weights for a Mask2Former: the package's start, a file of ours, or a `transformers` checkpoint.

Only the class head may differ from the network at hand (COCO has 80 classes, we have 8); it is
then left as initialised and the report says so. Anything else that differs is refused by name.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from torch import nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinBackbone

from uda4inst.errors import UserError
from uda4inst.models.hub import HUB_NAME, differing_fields, quiet_library, read_checkpoint
from uda4inst.models.mask2former.deformable import DeformableAttention
from uda4inst.models.mask2former.kernels import DeformableKernel
from uda4inst.models.mask2former.masked_attention import MaskedDecoder
from uda4inst.models.mask2former.pixel_decoder import PixelDecoder, Positions
from uda4inst.models.mask2former.start import start_as_published
from uda4inst.models.mask2former.swin import Backbone
from uda4inst.models.network import LoadReport
from uda4inst.models.recompute import Recomputed
from uda4inst.models.resnet import recompute_blocks
from uda4inst.models.storage import load_network_file, refuse_misfits, refuse_not_finite

if TYPE_CHECKING:
    from uda4inst.models.mask2former.network import Mask2Former

logger = logging.getLogger(__name__)

TOYSTREETS: Final = "toystreets"
TOYSTREETS_FILE: Final = Path(__file__).parents[1] / "weights" / "toystreets.safetensors"
CLASS_HEAD: Final = ("class_predictor.weight", "class_predictor.bias")
# What two configurations must share for the same weights to mean the same network.
_ARCHITECTURE: Final = (
    "feature_size",
    "mask_feature_size",
    "hidden_dim",
    "encoder_feedforward_dim",
    "encoder_layers",
    "decoder_layers",
    "num_attention_heads",
    "dim_feedforward",
    "pre_norm",
    "enforce_input_projection",
    "common_stride",
    "num_queries",
)
_BACKBONE: Final = (
    "model_type",
    "depths",
    # Swin's, then ResNet's
    "embed_dim",
    "num_heads",
    "window_size",
    "mlp_ratio",
    "embedding_size",
    "hidden_sizes",
    "layer_type",
    "downsample_in_bottleneck",
)


def load_weights(model: Mask2Former, weights: str | Path | None) -> LoadReport:
    """Fill a network; see `build_model` for what `weights` may be."""
    if weights is None:
        start_as_published(model.network)
        return LoadReport(source="fresh initialisation", loaded=0)
    if weights == TOYSTREETS:
        return load_network_file(model, TOYSTREETS_FILE, source="the package's ToyStreets start")
    path = Path(weights).expanduser()
    if path.is_dir():
        return _load_transformers(model, str(path), source=f"folder {path}")
    if path.is_file() or path.suffix == ".safetensors":
        return load_network_file(model, path, source=str(path))
    if HUB_NAME.fullmatch(str(weights)):
        return _load_transformers(model, str(weights), source=f"hub checkpoint {weights}")
    raise UserError(
        f"model.weights must be null, {TOYSTREETS!r}, a hub name (owner/name), an existing folder "
        f"or a .safetensors file, got {str(weights)!r}. Check the path."
    )


def adapt(
    network: Mask2FormerForUniversalSegmentation,
    *,
    recompute: bool = False,
    deformable_kernel: DeformableKernel = "torch",
) -> None:
    """Fit the library's network to our training; the names of its weights stay.

    Out go its loss, which would add a buffer to every checkpoint, and Swin's classifier norm, whose
    parameters never get a gradient, which DistributedDataParallel refuses.

    Args:
        network: of the library, changed in place.
        recompute: compute the backbone's blocks and the pixel decoder's layers again in the
            backward pass.
        deformable_kernel: what samples the deformable attention off the CPU.
    """
    del network.criterion
    pixel_level, transformer = network.model.pixel_level_module, network.model.transformer_module
    if isinstance(pixel_level.encoder, SwinBackbone):
        pixel_level.encoder = cast("Any", Backbone(pixel_level.encoder, recompute=recompute))
    elif recompute:
        recompute_blocks(pixel_level.encoder)
    pixel_decoder = PixelDecoder(pixel_level.decoder)
    encoder: Any = pixel_decoder.get_submodule("encoder")
    for layer in encoder.layers:
        layer.self_attn = DeformableAttention(
            cast("Any", layer.self_attn), remakes=not recompute, kernel=deformable_kernel
        )
    transformer.decoder = cast("Any", MaskedDecoder(transformer.decoder))
    if recompute:
        encoder.layers = nn.ModuleList(Recomputed(layer) for layer in encoder.layers)
    pixel_level.add_module("decoder", pixel_decoder)
    transformer.position_embedder = cast("Any", Positions(transformer.position_embedder))


def _load_transformers(model: Mask2Former, name: str, *, source: str) -> LoadReport:
    """Load a checkpoint in the library's format: a folder, or a name on the hub."""
    network, info = read_checkpoint(name, lambda local: _from_pretrained(model, name, local=local))
    adapt(network)
    own = set(network.state_dict())
    mismatched = {entry[0] for entry in info["mismatched_keys"]} & own
    missing = (set(info["missing_keys"]) - mismatched) & own
    unexpected = {key for key in info["unexpected_keys"] if "relative_position_index" not in key}
    refuse_misfits(name, sorted(mismatched - set(CLASS_HEAD)), missing, ())
    refuse_not_finite(name, network.state_dict())
    model.network.load_state_dict(network.state_dict())
    report = LoadReport(
        source=source,
        loaded=len(own) - len(mismatched),
        reinitialised=tuple(f"network.{key}" for key in sorted(mismatched)),
        unexpected=tuple(sorted(unexpected)),
    )
    return report


def _from_pretrained(
    model: Mask2Former, name: str, *, local: bool
) -> tuple[Mask2FormerForUniversalSegmentation, dict[str, Any]]:
    """Load configuration, compare, load weights."""
    ours = model.network.config
    theirs = read_configuration(name, local=local)
    differing = mask2former_differences(theirs, ours)
    if differing:
        raise UserError(
            f"model.weights must have the architecture of preset {model.preset.name!r}, got "
            f"{name}, which differs: {'; '.join(differing)}. Choose the preset that fits."
        )
    with quiet_library():
        loaded: Any = Mask2FormerForUniversalSegmentation.from_pretrained(
            name,
            config=ours,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=local,
        )
    network, info = loaded
    if _has_other_classes(theirs, ours):
        network.class_predictor.load_state_dict(model.network.class_predictor.state_dict())
        info["mismatched_keys"] = [*info["mismatched_keys"], *((key,) for key in CLASS_HEAD)]
    return network, info


def _has_other_classes(theirs: Mask2FormerConfig, ours: Mask2FormerConfig) -> bool:
    """Whether a head has as many classes as ours, named otherwise: it is no head of ours."""
    names, own = (tuple((config.id2label or {}).values()) for config in (theirs, ours))
    unnamed = all(name.startswith("LABEL_") for name in names)
    numbered = all(name.isdecimal() for name in own)
    return len(own) == len(names) and names != own and not unnamed and not numbered


def read_configuration(name: str, *, local: bool = True) -> Mask2FormerConfig:
    """Return the configuration of a folder in the library's format, or of a name on the hub.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    with quiet_library():
        return Mask2FormerConfig.from_pretrained(name, local_files_only=local)


def mask2former_differences(theirs: Mask2FormerConfig, ours: Mask2FormerConfig) -> list[str]:
    """Name the architecture fields in which two configurations differ."""
    backbones = differing_fields(theirs.backbone_config, ours.backbone_config, _BACKBONE)
    return differing_fields(theirs, ours, _ARCHITECTURE) + [f"backbone {b}" for b in backbones]
