"""The weights of a backbone alone, from a checkpoint of `transformers`.

Such a checkpoint is an ImageNet classifier (nvidia/mit-b5, microsoft/resnet-101), or whatever else
was built on the same backbone; the rest of the network is left as initialised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transformers import PreTrainedModel

from uda4inst.errors import UserError
from uda4inst.models.hub import differing_fields, quiet_library, read_checkpoint
from uda4inst.models.network import LoadReport
from uda4inst.models.semantic.network import SemanticNetwork
from uda4inst.models.storage import refuse_misfits

# What two configurations must share for the same weights to mean the same backbone, by its type.
BACKBONE_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "segformer": (
        "model_type",
        "hidden_sizes",
        "depths",
        "num_attention_heads",
        "sr_ratios",
        "patch_sizes",
        "strides",
        "mlp_ratios",
    ),
    "resnet": (
        "model_type",
        "embedding_size",
        "hidden_sizes",
        "depths",
        "layer_type",
        "downsample_in_first_stage",
        "downsample_in_bottleneck",
    ),
}


def load_backbone(network: SemanticNetwork, name: str, *, source: str) -> LoadReport:
    """Fill the backbone of a network; see `SemanticNetwork.load_checkpoint`."""
    prefix = network.backbone_prefix
    backbone = network.get_submodule(prefix.removesuffix("."))
    assert isinstance(backbone, PreTrainedModel), "backbones are the library's"
    loaded, info = read_checkpoint(
        name, lambda local: _from_pretrained(network, backbone, name, local=local)
    )
    own = set(backbone.state_dict())
    mismatched = {entry[0] for entry in info["mismatched_keys"]} & own
    refuse_misfits(name, mismatched, (set(info["missing_keys"]) - mismatched) & own, ())
    backbone.load_state_dict(loaded.state_dict())
    return LoadReport(
        source=source,
        loaded=len(own),
        missing=tuple(sorted(k for k in network.state_dict() if not k.startswith(prefix))),
        unexpected=tuple(sorted(info["unexpected_keys"])),
    )


def refuse_differing(preset: str, name: str, theirs: object, ours: object, *more: str) -> None:
    """Raise where a checkpoint's configuration is not that of a preset.

    Args:
        preset: its name.
        name: of the checkpoint.
        theirs: the checkpoint's configuration.
        ours: the backbone's.
        more: fields beside those of the backbone.

    Raises:
        UserError: they differ; the message names the fields.
    """
    fields = (*BACKBONE_FIELDS[getattr(ours, "model_type", "")], *more)
    if differing := differing_fields(theirs, ours, fields):
        raise UserError(
            f"model.weights must have the architecture of preset {preset!r}, got "
            f"{name}, which differs: {'; '.join(differing)}. Choose the preset that fits."
        )


def _from_pretrained(
    network: SemanticNetwork, backbone: PreTrainedModel, name: str, *, local: bool
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load configuration, compare, load weights."""
    ours = backbone.config
    theirs = type(ours).from_pretrained(name, local_files_only=local)
    refuse_differing(network.preset.name, name, theirs, ours)
    with quiet_library():
        loaded: Any = type(backbone).from_pretrained(
            name,
            config=ours,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=local,
        )
    return loaded[0], loaded[1]
