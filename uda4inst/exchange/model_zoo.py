"""Mask2Former checkpoints of detectron2's model zoo, to our network and back.

Every tensor of one side has its place on the other; one that is left over, is missing or has
another shape is an error that names it. Nothing of detectron2 is needed.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

from uda4inst.atomic import whole_file
from uda4inst.errors import UserError, did_you_mean
from uda4inst.exchange.model_zoo_names import (
    INDEX_TABLE,
    index_table,
    is_ours,
    named_as_now,
    place_of,
    relative_positions,
)
from uda4inst.exchange.pickles import read_pickle
from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.models.mask2former.presets import MODEL_PRESETS, ModelPreset
from uda4inst.models.network import listed
from uda4inst.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from uda4inst.models.storage import not_finite, read_archive
from uda4inst.reading import open_regular

ZOO_SUFFIXES: Final = (".pkl", ".pth")
_HEAD: Final = "sem_seg_head.predictor.class_embed.weight"
_ARCHIVE: Final = b"PK"
# Without these detectron2 takes the names for those of earlier versions, and changes them.
_VERSIONS: Final = {"sem_seg_head": {"version": 2}, "sem_seg_head.predictor": {"version": 2}}
_AUTHOR: Final = "uda4inst"
PIXEL_STATISTICS: Final = {"pixel_mean": IMAGENET_MEAN, "pixel_std": IMAGENET_STD}


def load_zoo(path: Path, *, preset: str | None = None) -> Mask2Former:
    """Return the network in a checkpoint of the model zoo, with the head it has.

    Args:
        path: a .pkl of the model zoo, or a .pth that detectron2's training wrote.
        preset: which architecture it must be; None for the one that fits.

    Raises:
        UserError: it cannot be read, or holds another architecture.
    """
    if preset is not None and preset not in MODEL_PRESETS:
        hint = did_you_mean(preset, MODEL_PRESETS)
        raise UserError(
            f"--preset must be one of {', '.join(MODEL_PRESETS)}, got {preset!r}.{hint}"
        )
    state = read_zoo(path)
    if _HEAD not in state or state[_HEAD].ndim != 2:
        raise _other_architecture(path, state)
    classes = len(state[_HEAD]) - 1
    chosen = _fitting(state, classes, path, preset)
    model = Mask2Former(chosen, num_classes=classes)
    filled = {
        name: _taken(state, name) if is_ours(name) else tensor
        for name, tensor in model.network.state_dict().items()
    }
    if strange := not_finite(filled):
        raise UserError(
            f"SOURCE must hold finite numbers, got others in {listed(strange)} ({path}). The "
            "training it comes from failed: take an earlier checkpoint."
        )
    model.network.load_state_dict(filled)
    return model.eval()


def read_zoo(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a detectron2 checkpoint, under the names of its last version.

    Raises:
        UserError: it is no such file, or damaged, or would run code.
    """
    try:
        with open_regular(path) as file:
            is_archive = file.read(len(_ARCHIVE)) == _ARCHIVE
        found = read_archive(path) if is_archive else read_pickle(path)
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
        return named_as_now(_tensors(cast("Any", found)))
    except (OSError, ValueError) as error:
        what = f"with {error}"
        if isinstance(error, OSError):
            what = f"that cannot be read: {error.strerror or error}"
        raise UserError(
            f"SOURCE must be a whole checkpoint of detectron2 (.pkl or .pth), got one "
            f"{what} ({path}). Download or copy it again; files that hold more than weights are "
            "not read."
        ) from error


def _tensors(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the entries of a checkpoint's model, all of them tensors.

    Raises:
        ValueError: there is something else among them.
    """
    model = found.get("model", found)
    if not isinstance(model, dict) or not model:
        raise ValueError("no tensors by name")
    tensors: dict[str, Tensor] = {}
    for name, value in cast("dict[Any, Any]", model).items():
        if isinstance(value, np.ndarray):
            native = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
            value = torch.from_numpy(native.reshape(value.shape))
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"a {type(value).__name__} named {str(name)[:80]!r} among its tensors")
        tensors[name] = value.float() if value.is_floating_point() else value
    return tensors


def _fitting(
    state: Mapping[str, Tensor], classes: int, path: Path, preset: str | None
) -> ModelPreset:
    """Return the preset whose tensors these are, each and all.

    Raises:
        UserError: there is none; the message says how the nearest differs.
    """
    known = MODEL_PRESETS.values() if preset is None else (MODEL_PRESETS[preset],)
    found: dict[str, list[str]] = {}
    for candidate in known:
        found[candidate.name] = _differences(state, candidate, classes)
        if not found[candidate.name]:
            return candidate
    nearest, differences = min(found.items(), key=lambda item: len(item[1]))
    wanted = f"preset {preset!r}" if preset else f"one of the presets {', '.join(MODEL_PRESETS)}"
    remedy = (
        "Leave --preset out: the one that fits is found."
        if preset
        else "Other sizes and networks are not converted."
    )
    raise UserError(
        f"SOURCE must be a Mask2Former of {wanted}, got one that differs from {nearest} in "
        f"{len(differences)} tensors: {listed(differences)} ({path}). {remedy}"
    )


def zoo_layout(preset: ModelPreset, classes: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors that the authors' network of a preset has.

    Args:
        preset: the architecture.
        classes: of its head, "no object" not counted.
    """
    with torch.device("meta"):
        own = Mask2Former(preset, num_classes=classes).network.state_dict()
    tensors = _zoo_tensors(own) | relative_positions(own)
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _differences(state: Mapping[str, Tensor], preset: ModelPreset, classes: int) -> list[str]:
    """Name the tensors that are missing, left over, of another shape, or other constants."""
    wanted = zoo_layout(preset, classes)
    differences = [
        f"{name} is missing"
        for name in wanted
        if name not in state and not name.endswith(INDEX_TABLE)
    ]
    for name, tensor in state.items():
        shape = tuple(tensor.shape)
        if name in PIXEL_STATISTICS:
            if not _are_ours(name, tensor):
                differences.append(f"{name} has other values")
        elif name not in wanted:
            differences.append(f"{name} is left over")
        elif shape != wanted[name]:
            differences.append(f"{name} has shape {shape}, not {wanted[name]}")
        elif name.endswith(INDEX_TABLE) and not torch.equal(tensor, index_table(shape)):
            differences.append(f"{name} has other values")
    return differences


def _are_ours(name: str, found: Tensor) -> bool:
    """Whether the mean or deviation of pixels, which early checkpoints hold, are ours."""
    wanted = 255 * torch.tensor(PIXEL_STATISTICS[name])
    return found.numel() == 3 and torch.allclose(found.flatten().float(), wanted, atol=1e-3)


def _taken(state: Mapping[str, Tensor], own: str) -> Tensor:
    """Return a tensor of ours out of theirs."""
    name, third = place_of(own)
    return state[name] if third is None else state[name].chunk(3)[third]


def _zoo_tensors(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return their weights out of ours, by their names; index tables are not among them."""
    parts: dict[str, dict[int | None, Tensor]] = {}
    for name, tensor in own.items():
        if is_ours(name):
            place = place_of(name)
            parts.setdefault(place.name, {})[place.third] = tensor
    return {
        name: found[None] if None in found else torch.cat([found[third] for third in range(3)])
        for name, found in parts.items()
    }


def zoo_state(model: Mask2Former) -> OrderedDict[str, Tensor]:
    """Return a network's tensors as detectron2's Mask2Former of the same architecture has them.

    The weights of its loss's classes, which are its configuration's, are among them.
    """
    own = model.network.state_dict()
    class_weights = torch.ones(model.num_classes + 1)
    class_weights[-1] = 0.1  # of "no object", as in every published configuration
    tensors = _zoo_tensors(own) | relative_positions(own)
    tensors["criterion.empty_weight"] = class_weights
    return OrderedDict((name, tensor.detach().cpu()) for name, tensor in tensors.items())


def write_zoo(model: Mask2Former, path: Path) -> int:
    """Write a network as a file that detectron2's checkpointer loads, and return its tensors.

    Args:
        model: the network.
        path: .pkl for numpy arrays, as the model zoo has them, .pth for torch's own format.
    """
    state = zoo_state(model)
    cast("Any", state)._metadata = _VERSIONS
    with whole_file(path) as temporary:
        if path.suffix == ".pth":
            torch.save({"model": state}, temporary)
        else:
            arrays: Any = OrderedDict((name, tensor.numpy()) for name, tensor in state.items())
            arrays._metadata = _VERSIONS
            with temporary.open("wb") as file:
                pickle.dump({"model": arrays, "__author__": _AUTHOR}, file, protocol=4)
    return len(state)


def _other_architecture(path: Path, state: Mapping[str, Tensor]) -> UserError:
    """Explain a checkpoint that is no Mask2Former."""
    parts = sorted({name.split(".")[0] for name in state})
    backbones = ("backbone", "stem", "res", "layers", "patch_embed", "norm")
    what = (
        "a backbone alone"
        if all(part.startswith(backbones) for part in parts)
        else "another architecture"
    )
    return UserError(
        f"SOURCE must be a whole Mask2Former, got {what} (tensors of {listed(parts)}; {path}). "
        "Take a checkpoint of Mask2Former's own model zoo."
    )
