"""Folders in the format of `transformers`: written from our network, and told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import Mask2FormerForUniversalSegmentation

from uda4inst.atomic import new_folder
from uda4inst.errors import UserError
from uda4inst.models.hub import quiet_library, read_checkpoint
from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.models.mask2former.pretrained import mask2former_differences, read_configuration


def write_library_folder(model: Mask2Former, folder: Path, class_names: Sequence[str]) -> None:
    """Write config.json and model.safetensors, which `from_pretrained` and `model.weights` take.

    Args:
        model: the network.
        folder: to make; its name must be free.
        class_names: of the network's classes, in order.
    """
    if len(class_names) != model.num_classes:
        raise ValueError(f"{len(class_names)} names for {model.num_classes} classes")
    config = model.preset.config(model.num_classes)
    config.id2label = dict(enumerate(class_names))
    config.label2id = {name: index for index, name in enumerate(class_names)}
    with quiet_library():
        network = Mask2FormerForUniversalSegmentation(config)
        missing, unexpected = network.load_state_dict(model.network.state_dict(), strict=False)
        # the library's loss, and the norm of Swin's classifier: without effect on predictions
        lacking = [n for n in missing if not n.startswith("criterion.") and ".layernorm." not in n]
        assert not [*lacking, *unexpected], "the library's network has other tensors than ours"
        with new_folder(folder) as temporary:
            network.save_pretrained(temporary)


def preset_of_folder(folder: Path) -> tuple[str, int]:
    """Return the preset and the number of classes of a folder in the library's format.

    Raises:
        UserError: it is no such folder, or of another architecture than any preset.
    """
    config = read_checkpoint(str(folder), lambda _: read_configuration(str(folder)))
    classes = len(config.id2label or ())
    for name, preset in MODEL_PRESETS.items():
        if not mask2former_differences(config, preset.config(classes)):
            return name, classes
    raise UserError(
        f"SOURCE must be of the architecture of a preset ({', '.join(MODEL_PRESETS)}), got "
        f"{folder}, which is of none."
    )
