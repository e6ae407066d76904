"""Weights for a SegFormer: a file of ours, or a checkpoint of `transformers`.

Such a checkpoint is a whole SegFormer (nvidia/segformer-*) or an ImageNet encoder (nvidia/mit-*);
the head of the latter is left as initialised. So is the last layer, the class head, where the
number of classes differs. Anything else that differs is refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from transformers import SegformerConfig, SegformerForSemanticSegmentation

from uda4inst.errors import UserError
from uda4inst.models.hub import HUB_NAME, differing_fields, quiet_library, read_checkpoint
from uda4inst.models.network import LoadReport
from uda4inst.models.storage import load_network_file, refuse_misfits

if TYPE_CHECKING:
    from uda4inst.models.segformer.network import SegFormer

CLASS_HEAD: Final = ("decode_head.classifier.weight", "decode_head.classifier.bias")
_HEAD: Final = "decode_head."
_ENCODER_FIELDS: Final = (
    "model_type",
    "hidden_sizes",
    "depths",
    "num_attention_heads",
    "sr_ratios",
    "patch_sizes",
    "strides",
    "mlp_ratios",
)


def load_weights(model: SegFormer, weights: str | Path | None) -> LoadReport:
    """Fill a network; see `build_segformer` for what `weights` may be."""
    if weights is None:
        return LoadReport(source="fresh initialisation", loaded=0)
    path = Path(weights).expanduser()
    if path.is_dir():
        return _load_transformers(model, str(path), source=f"folder {path}")
    if path.is_file() or path.suffix == ".safetensors":
        return load_network_file(model, path, source=str(path))
    if HUB_NAME.fullmatch(str(weights)):
        return _load_transformers(model, str(weights), source=f"hub checkpoint {weights}")
    raise UserError(
        "model.weights must be null, a hub name (owner/name), an existing folder or a .safetensors "
        f"file, got {str(weights)!r}. Check the path."
    )


def _load_transformers(model: SegFormer, name: str, *, source: str) -> LoadReport:
    """Load a checkpoint in the library's format: a folder, or a name on the hub."""
    network, info, is_whole = read_checkpoint(
        name, lambda local: _from_pretrained(model, name, local=local)
    )
    own = set(network.state_dict())
    mismatched = {entry[0] for entry in info["mismatched_keys"]} & own
    missing = (set(info["missing_keys"]) - mismatched) & own
    allowed = set() if is_whole else {key for key in own if key.startswith(_HEAD)}
    refuse_misfits(name, mismatched - {*CLASS_HEAD, *allowed}, missing - allowed, ())
    model.network.load_state_dict(network.state_dict())
    return LoadReport(
        source=source,
        loaded=len(own) - len(mismatched) - len(missing),
        reinitialised=tuple(f"network.{key}" for key in sorted(mismatched)),
        missing=tuple(f"network.{key}" for key in sorted(missing)),
        unexpected=tuple(sorted(info["unexpected_keys"])),
    )


def _from_pretrained(
    model: SegFormer, name: str, *, local: bool
) -> tuple[SegformerForSemanticSegmentation, dict[str, Any], bool]:
    """Load configuration, compare, load weights; and say whether there is a head among them."""
    ours = model.network.config
    theirs = SegformerConfig.from_pretrained(name, local_files_only=local)
    is_whole = any("SemanticSegmentation" in kind for kind in theirs.architectures or ())
    fields = (*_ENCODER_FIELDS, "decoder_hidden_size") if is_whole else _ENCODER_FIELDS
    if differing := differing_fields(theirs, ours, fields):
        raise UserError(
            f"model.weights must have the architecture of preset {model.preset.name!r}, got "
            f"{name}, which differs: {'; '.join(differing)}. Choose the preset that fits."
        )
    with quiet_library():
        loaded: Any = SegformerForSemanticSegmentation.from_pretrained(
            name,
            config=ours,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=local,
        )
    return loaded[0], loaded[1], is_whole
