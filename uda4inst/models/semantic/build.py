"""Every network for semantic maps by name, and what fills it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.errors import UserError, did_you_mean
from uda4inst.models.bisenet.presets import BISENET_PRESETS
from uda4inst.models.daformer.presets import DAFORMER_PRESETS
from uda4inst.models.deeplab.presets import DEEPLAB_PRESETS
from uda4inst.models.hub import HUB_NAME
from uda4inst.models.network import LoadReport
from uda4inst.models.segformer.presets import SEGFORMER_PRESETS
from uda4inst.models.semantic.network import SemanticNetwork, SemanticPreset
from uda4inst.models.semantic.start import STARTS, TOYSTREETS, load_start
from uda4inst.models.storage import load_network_file

SEMANTIC_PRESETS: Final[dict[str, SemanticPreset]] = {
    **SEGFORMER_PRESETS,
    **DAFORMER_PRESETS,
    **DEEPLAB_PRESETS,
    **BISENET_PRESETS,
}


def build_semantic(
    preset: str,
    *,
    weights: str | Path | None,
    num_classes: int = len(SEMANTIC_CLASSES),
    gradient_checkpointing: bool = False,
) -> tuple[SemanticNetwork, LoadReport]:
    """Build a network and fill it.

    Args:
        preset: one of `SEMANTIC_PRESETS`.
        weights: None for a fresh start (from torch's generator, so seed it first); "toystreets" for
            the small backbone in the package, where `STARTS` has one; a name on the Hugging Face
            hub of an ImageNet backbone such as "nvidia/mit-b2" or, for SegFormer, of a
            whole network such as "nvidia/segformer-b2-finetuned-cityscapes-1024-1024"; a folder in
            that format; or a .safetensors file written by `save_network`.
        num_classes: what a pixel can be. A class head of another size in `weights` is not loaded.
        gradient_checkpointing: see `SemanticPreset.build`.

    Returns:
        The network in training mode on the CPU, and what was and was not loaded.

    Raises:
        UserError: unknown preset; weights missing, unreadable or of another architecture.
    """
    if preset not in SEMANTIC_PRESETS:
        hint = did_you_mean(preset, SEMANTIC_PRESETS)
        raise UserError(
            f"model.preset must be one of {', '.join(SEMANTIC_PRESETS)}, got {preset!r}.{hint}"
        )
    network = SEMANTIC_PRESETS[preset].build(
        num_classes=num_classes, gradient_checkpointing=gradient_checkpointing
    )
    network.train()
    return network, _load_weights(network, weights)


def _load_weights(network: SemanticNetwork, weights: str | Path | None) -> LoadReport:
    """Fill a network; see `build_semantic` for what `weights` may be."""
    if weights is None:
        return LoadReport(source="fresh initialisation", loaded=0)
    preset = network.preset.name
    if weights == TOYSTREETS and preset in STARTS:
        source = f"the package's ToyStreets start, {network.backbone_prefix.removesuffix('.')}"
        return load_start(network, STARTS[preset], source=source)
    path = Path(weights).expanduser()
    if path.is_dir():
        return network.load_checkpoint(str(path), source=f"folder {path}")
    if path.is_file() or path.suffix == ".safetensors":
        return load_network_file(network, path, source=str(path))
    if HUB_NAME.fullmatch(str(weights)):
        return network.load_checkpoint(str(weights), source=f"hub checkpoint {weights}")
    raise UserError(
        f"model.weights must be null, {TOYSTREETS!r} with {', '.join(STARTS)}, a hub name "
        f"(owner/name), an existing folder or a .safetensors file, got {str(weights)!r} with "
        f"{preset}. Check the path."
    )
