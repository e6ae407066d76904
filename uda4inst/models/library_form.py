"""A network as the library's own class has it, for whoever has `transformers` and not this package.

The names of the weights are the library's already; what ours left out of it (see
`mask2former.pretrained.adapt`) takes no part in any prediction and stands as the library makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    PreTrainedModel,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from uda4inst.atomic import new_folder
from uda4inst.errors import UserError
from uda4inst.models.hub import quiet_library, read_checkpoint
from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.models.mask2former.pretrained import mask2former_differences, read_configuration
from uda4inst.models.network import Network
from uda4inst.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from uda4inst.models.segformer.network import SegFormer
from uda4inst.models.segformer.presets import SEGFORMER_PRESETS
from uda4inst.models.segformer.pretrained import segformer_differences

# Of the library's network, and not of ours.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "criterion.empty_weight",
        "model.pixel_level_module.encoder.swin.layernorm.weight",
        "model.pixel_level_module.encoder.swin.layernorm.bias",
    }
)
_BILINEAR: Final = 2  # Pillow's number of it


def library_form(network: Network) -> PreTrainedModel:
    """Return the library's network with a network's weights, in evaluation mode on the CPU.

    Its outputs are the network's: SegFormer's to the bit, Mask2Former's up to the rounding of sums
    that are taken in another order. Images must be normalised (`image_processing`).

    Args:
        network: a Mask2Former or a SegFormer; it is left as it is.

    Raises:
        UserError: the library has no class of such a network.
    """
    state = torch.get_rng_state()
    theirs = _empty(network)
    torch.set_rng_state(state)
    prefix = "network."
    weights = {
        name.removeprefix(prefix): tensor.detach().cpu()
        for name, tensor in network.state_dict().items()
    }
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected, "names are the library's"
    assert _WITHOUT_EFFECT.issuperset(missing), "all that predicts is ours"
    return theirs.eval()


def _empty(network: Network) -> PreTrainedModel:
    """Return the library's network of the same configuration."""
    if isinstance(network, Mask2Former):
        return Mask2FormerForUniversalSegmentation(_copied(network.network.config))
    if isinstance(network, SegFormer):
        return SegformerForSemanticSegmentation(_copied(network.network.config))
    known = ", ".join((*MODEL_PRESETS, *SEGFORMER_PRESETS))
    raise UserError(
        "network must be one that transformers has a class of, Mask2Former or SegFormer (presets "
        f"{known}), got preset {network.architecture['preset']!r}, whose head is ours alone. Take "
        "its .safetensors file from the checkpoint: model.weights and any run of ours read it."
    )


def _copied(config: Any) -> Any:
    return type(config).from_dict(config.to_dict())


def image_processing(
    network: Network, *, short_side: int | None, long_side_max: int
) -> Mapping[str, Any]:
    """Return `preprocessor_config.json`: how the library makes a network's input of pictures.

    Args:
        network: one that `library_form` takes.
        short_side: pictures are resized to this shorter side first; None takes them as they are.
        long_side_max: upper bound of the longer side when resizing.
    """
    kind = "Mask2Former" if isinstance(network, Mask2Former) else "Segformer"
    size = {"shortest_edge": short_side or 1024, "longest_edge": long_side_max}
    return {
        "image_processor_type": f"{kind}ImageProcessor",
        "do_resize": short_side is not None,
        "size": size,
        "resample": _BILINEAR,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
        "do_reduce_labels": False,
    }


def preset_of(config: Mapping[str, Any]) -> str:
    """Return the preset that a `config.json` of the library is of.

    Args:
        config: its content.

    Raises:
        UserError: none is.
    """
    kinds: Mapping[str, tuple[Any, Mapping[str, Any], Callable[[Any, Any], list[str]]]] = {
        "mask2former": (Mask2FormerConfig, MODEL_PRESETS, mask2former_differences),
        "segformer": (SegformerConfig, SEGFORMER_PRESETS, segformer_differences),
    }
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in kinds:
        raise UserError(
            f"config.json must be of model_type {' or '.join(kinds)}, got {str(kind)[:80]!r}. Only "
            "these networks of transformers are ours too."
        )
    library: Any
    differences: Any
    library, presets, differences = kinds[kind]
    try:
        theirs: Any = library.from_dict(dict(config))
        classes = len(theirs.id2label)
    except Exception as error:  # whatever the library raises of strange values
        told = str(error).strip().replace("\n", " ")[:300]
        raise UserError(
            f"config.json must be one that transformers can read, got {told}. Put it back, or "
            "export the run again."
        ) from error
    found = {name: differences(theirs, preset.config(classes)) for name, preset in presets.items()}
    fitting = [name for name, differing in found.items() if not differing]
    if not fitting:
        nearest = min(found, key=lambda name: len(found[name]))
        raise UserError(
            f"config.json must describe one of our presets ({', '.join(presets)}), got another "
            f"network; of {nearest} it differs: {'; '.join(found[nearest])}."
        )
    return fitting[0]


def write_library_folder(model: Mask2Former, folder: Path, class_names: Sequence[str]) -> None:
    """Write config.json and model.safetensors, which `from_pretrained` and `model.weights` take.

    Args:
        model: the network.
        folder: to make; its name must be free.
        class_names: of the network's classes, in order.
    """
    if len(class_names) != model.num_classes:
        raise ValueError(f"{len(class_names)} names for {model.num_classes} classes")
    theirs = library_form(model)
    theirs.config.id2label = dict(enumerate(class_names))
    theirs.config.label2id = {name: index for index, name in enumerate(class_names)}
    with quiet_library(), new_folder(folder) as temporary:
        theirs.save_pretrained(temporary)
        mode = (temporary / "config.json").stat().st_mode  # what the user's umask gives
        (temporary / "model.safetensors").chmod(mode)


def preset_of_folder(folder: Path) -> tuple[str, int]:
    """Return the preset and the number of classes of a Mask2Former in the library's format.

    Raises:
        UserError: it is no such folder, or of another architecture than any preset.
    """
    config = read_checkpoint(str(folder), lambda _: read_configuration(str(folder)))
    return preset_of(config.to_dict()), len(config.id2label or ())
