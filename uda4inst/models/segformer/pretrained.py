"""Weights for a SegFormer from a checkpoint of `transformers`.

Such a checkpoint is a whole SegFormer (nvidia/segformer-*) or an ImageNet encoder (nvidia/mit-*);
the head of the latter is left as initialised. So is the last layer, the class head, where the
number of classes differs. Anything else that differs is refused by name.
"""

from __future__ import annotations

from typing import Any, Final

from transformers import SegformerConfig, SegformerForSemanticSegmentation

from uda4inst.models.hub import differing_fields, quiet_library, read_checkpoint
from uda4inst.models.network import LoadReport
from uda4inst.models.semantic.checkpoint import BACKBONE_FIELDS, refuse_differing
from uda4inst.models.semantic.network import SemanticNetwork
from uda4inst.models.storage import refuse_misfits

CLASS_HEAD: Final = ("decode_head.classifier.weight", "decode_head.classifier.bias")
_HEAD: Final = "decode_head."
_HEAD_FIELDS: Final = ("decoder_hidden_size",)


def load_segformer(
    model: SemanticNetwork,
    network: SegformerForSemanticSegmentation,
    name: str,
    *,
    source: str,
) -> LoadReport:
    """Fill a SegFormer from a whole one, or its encoder; see `SemanticNetwork.load_checkpoint`.

    Args:
        model: for the message of what does not fit.
        network: the library's inside it.
        name: a folder, or a name on the hub.
        source: what the report calls it.
    """
    loaded, info, is_whole = read_checkpoint(
        name, lambda local: _from_pretrained(model, network, name, local=local)
    )
    own = set(loaded.state_dict())
    mismatched = {entry[0] for entry in info["mismatched_keys"]} & own
    missing = (set(info["missing_keys"]) - mismatched) & own
    allowed = set() if is_whole else {key for key in own if key.startswith(_HEAD)}
    refuse_misfits(name, mismatched - {*CLASS_HEAD, *allowed}, missing - allowed, ())
    network.load_state_dict(loaded.state_dict())
    return LoadReport(
        source=source,
        loaded=len(own) - len(mismatched) - len(missing),
        reinitialised=tuple(f"network.{key}" for key in sorted(mismatched)),
        missing=tuple(f"network.{key}" for key in sorted(missing)),
        unexpected=tuple(sorted(info["unexpected_keys"])),
    )


def _from_pretrained(
    model: SemanticNetwork, network: SegformerForSemanticSegmentation, name: str, *, local: bool
) -> tuple[SegformerForSemanticSegmentation, dict[str, Any], bool]:
    """Load configuration, compare, load weights; and say whether there is a head among them."""
    theirs = SegformerConfig.from_pretrained(name, local_files_only=local)
    is_whole = any("SemanticSegmentation" in kind for kind in theirs.architectures or ())
    more = _HEAD_FIELDS if is_whole else ()
    refuse_differing(model.preset.name, name, theirs, network.config, *more)
    with quiet_library():
        loaded: Any = SegformerForSemanticSegmentation.from_pretrained(
            name,
            config=network.config,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=local,
        )
    return loaded[0], loaded[1], is_whole


def segformer_differences(theirs: SegformerConfig, ours: SegformerConfig) -> list[str]:
    """Name the architecture fields in which two configurations of whole networks differ."""
    return differing_fields(theirs, ours, (*BACKBONE_FIELDS["segformer"], *_HEAD_FIELDS))
