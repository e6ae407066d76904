"""The authors' Mask2Former beside detectron2, where both are there: what ours is compared with.

`UDA4INST_MASK2FORMER` names a checkout of facebookresearch/Mask2Former; detectron2 is imported. Its
own deformable attention needs no compiled operation: on a CPU it falls back to torch's.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

VARIABLE: Final = "UDA4INST_MASK2FORMER"
_COCO: Final = "coco/instance-segmentation"
CONFIGS: Final = {
    "swin_t": f"{_COCO}/swin/maskformer2_swin_tiny_bs16_50ep.yaml",
    "swin_s": f"{_COCO}/swin/maskformer2_swin_small_bs16_50ep.yaml",
    "swin_b": f"{_COCO}/swin/maskformer2_swin_base_IN21k_384_bs16_50ep.yaml",
    "swin_l": f"{_COCO}/swin/maskformer2_swin_large_IN21k_384_bs16_100ep.yaml",
    "r50": f"{_COCO}/maskformer2_R50_bs16_50ep.yaml",
    "r101": f"{_COCO}/maskformer2_R101_bs16_50ep.yaml",
}


def missing() -> str | None:
    """Say why there is nothing to compare with; None where there is."""
    if importlib.util.find_spec("detectron2") is None:
        return "needs detectron2 (docs/exchange.md says how to build it)"
    folder = os.environ.get(VARIABLE)
    if folder is None or not (Path(folder) / "mask2former").is_dir():
        return f"needs {VARIABLE}: a checkout of github.com/facebookresearch/Mask2Former"
    return None


def build(config: str) -> Any:
    """Return the authors' network of one of their configurations, drawn anew, for evaluation."""
    folder = os.environ[VARIABLE]
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # stands for the compiled operation, whose absence they notice when it is called
    sys.modules.setdefault("MultiScaleDeformableAttention", types.ModuleType("absent"))
    library: Any = importlib.import_module("detectron2.config")
    deeplab: Any = importlib.import_module("detectron2.projects.deeplab")
    modeling: Any = importlib.import_module("detectron2.modeling")
    original: Any = importlib.import_module("mask2former")
    settings = library.get_cfg()
    deeplab.add_deeplab_config(settings)
    original.add_maskformer2_config(settings)
    settings.merge_from_file(f"{folder}/configs/{config}")
    settings.MODEL.DEVICE = "cpu"
    return modeling.build_model(settings).eval()


def draw(network: nn.Module, *, seed: int) -> None:
    """Draw what a fresh network has constant too: biases, norms, statistics, offsets."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.rand(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(noise + 0.5)
        elif "norm" in name or name.endswith(("bias", "running_mean")):
            tensor.add_(0.3 * (noise - 0.5))
        elif "sampling_offsets" in name:
            tensor.add_(0.06 * (noise - 0.5))


def logits(network: Any, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the class and mask logits of every layer, the last one last.

    Args:
        network: from `build`.
        images: RGB in [0, 1], (B, 3, H, W).
    """
    structures: Any = importlib.import_module("detectron2.structures")
    pixels = [(image * 255 - network.pixel_mean) / network.pixel_std for image in images]
    padded = structures.ImageList.from_tensors(pixels, network.size_divisibility).tensor
    with torch.no_grad():
        found = network.sem_seg_head(network.backbone(padded))
    layers = [*found["aux_outputs"], found]
    return [one["pred_logits"] for one in layers], [one["pred_masks"] for one in layers]
