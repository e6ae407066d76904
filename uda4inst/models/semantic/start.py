"""The package's starts of the tiny networks for semantic maps: backbones alone.

They stand in for ImageNet weights; heads start fresh, as they do there. Networks that share a
backbone share its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from uda4inst.models.network import LoadReport
from uda4inst.models.semantic.network import SemanticNetwork
from uda4inst.models.storage import read_tensors, refuse_misfits, save_tensors

TOYSTREETS: Final = "toystreets"  # what the configuration calls them all
_FOLDER: Final = Path(__file__).parents[1] / "weights"
_MIT, _RESNET = (_FOLDER / f"toystreets_{kind}.safetensors" for kind in ("mit", "resnet"))
STARTS: Final[Mapping[str, Path]] = {
    "mit_tiny": _MIT,
    "daformer_tiny": _MIT,
    "deeplab_tiny": _RESNET,
    "bisenet_tiny": _RESNET,
}


def save_start(network: SemanticNetwork, path: Path) -> None:
    """Write a network's backbone in half precision, whole or not at all.

    Args:
        network: whose backbone.
        path: file to write.
    """
    backbone = network.get_submodule(network.backbone_prefix.removesuffix("."))
    header = {"backbone_of": str(network.architecture["preset"])}
    save_tensors(backbone.state_dict(), path, header=header, dtype=torch.float16)


def load_start(network: SemanticNetwork, path: Path, *, source: str) -> LoadReport:
    """Fill a network's backbone from a file written by `save_start`.

    Args:
        network: with the same backbone, whatever stands on it.
        path: the file.
        source: what the report calls it.

    Raises:
        UserError: the file is missing, damaged, or of another backbone.
    """
    prefix = network.backbone_prefix
    backbone = network.get_submodule(prefix.removesuffix("."))
    _, tensors = read_tensors(path)
    own = backbone.state_dict()
    differing = [k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape]
    refuse_misfits(path, differing, own.keys() - tensors.keys(), tensors.keys() - own.keys())
    backbone.load_state_dict(tensors)
    missing = tuple(sorted(k for k in network.state_dict() if not k.startswith(prefix)))
    return LoadReport(source=source, loaded=len(tensors), missing=missing)
