"""Reading and writing network weights: safetensors of our own, or a `transformers` checkpoint.

Only the class head may differ from the network at hand (COCO has 80 classes, we have 8); it is
then left as initialised and the report says so. Anything else that differs is refused by name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation
from transformers.utils import logging as hf_logging

from uda4inst.atomic import whole_file
from uda4inst.errors import UserError
from uda4inst.models.mask2former.deformable import DeformableAttention, LibraryAttention

if TYPE_CHECKING:
    from uda4inst.models.mask2former.network import Mask2Former

logger = logging.getLogger(__name__)

TOYSTREETS: Final = "toystreets"
TOYSTREETS_FILE: Final = Path(__file__).parents[1] / "weights" / "toystreets.safetensors"
FORMAT: Final = "uda4inst-mask2former-1"
_CLASS_HEAD: Final = ("class_predictor.weight", "class_predictor.bias")
_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
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
_BACKBONE: Final = ("model_type", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio")


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of the tensors of a network when weights were loaded.

    Args:
        source: where the weights came from.
        loaded: how many tensors were filled.
        reinitialised: tensors of the network left as initialised because their size differs.
        missing: tensors of the network the source does not hold.
        unexpected: tensors of the source the network has no place for.
    """

    source: str
    loaded: int
    reinitialised: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for the log."""
        parts = [f"weights from {self.source}: {self.loaded} tensors loaded"]
        for name in ("reinitialised", "missing", "unexpected"):
            tensors: tuple[str, ...] = getattr(self, name)
            if tensors:
                parts.append(f"{name}: {_listed(tensors)}")
        return "; ".join(parts)


def load_weights(model: Mask2Former, weights: str | Path | None) -> LoadReport:
    """Fill a network; see `build_model` for what `weights` may be."""
    if weights is None:
        return LoadReport(source="fresh initialisation", loaded=0)
    if weights == TOYSTREETS:
        return _load_file(model, TOYSTREETS_FILE, source="the package's ToyStreets start")
    path = Path(weights).expanduser()
    if path.is_dir():
        return _load_transformers(model, str(path), source=f"folder {path}")
    if path.is_file() or path.suffix == ".safetensors":
        return _load_file(model, path, source=str(path))
    if _HUB_NAME.fullmatch(str(weights)):
        return _load_transformers(model, str(weights), source=f"hub checkpoint {weights}")
    raise UserError(
        f"model.weights must be null, {TOYSTREETS!r}, a hub name (owner/name), an existing folder "
        f"or a .safetensors file, got {str(weights)!r}. Check the path."
    )


def adapt(network: Mask2FormerForUniversalSegmentation) -> None:
    """Fit the library's network to our training; the names of its weights stay.

    Out go its loss, which would add a buffer to every checkpoint, and Swin's classifier norm, whose
    parameters never get a gradient, which DistributedDataParallel refuses.
    """
    del network.criterion
    pixel_level = network.model.pixel_level_module
    pixel_level.encoder.swin.layernorm = nn.Identity()
    for layer in pixel_level.decoder.encoder.layers:
        layer.self_attn = DeformableAttention(cast("LibraryAttention", layer.self_attn))


def save_student(model: Mask2Former, path: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a network as safetensors, whole or not at all.

    The preset and the number of classes go into the header, so that loading can name them.

    Args:
        model: the network.
        path: file to write.
        dtype: of floating-point tensors in the file; half precision halves it (a shipped start).
    """
    tensors = {
        name: tensor.to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "preset": model.preset.name,
        "num_classes": str(model.num_classes),
    }
    with whole_file(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask gives; safetensors would leave 0600
        save_file(tensors, temporary, metadata=header)
        temporary.chmod(mode)


def _load_file(model: Mask2Former, path: Path, *, source: str) -> LoadReport:
    """Load a file written by `save_student`."""
    header, tensors = _read_safetensors(path)
    preset = header.get("preset", model.preset.name)
    if preset != model.preset.name:
        raise UserError(
            f"model.weights must hold a network of preset {model.preset.name!r}, got {preset!r} "
            f"({path}). Set model.preset={preset}, or choose other weights."
        )
    wanted = model.state_dict()
    heads = {f"network.{name}" for name in _CLASS_HEAD}
    differing = {
        name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape
    }
    missing, unexpected = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    _refuse(
        path,
        [f"{n} has shape {_shape(tensors[n])}, not {_shape(wanted[n])}" for n in differing - heads],
        missing,
        unexpected,
    )
    kept = {name: tensor for name, tensor in tensors.items() if name not in differing}
    model.load_state_dict(kept, strict=False)
    return LoadReport(source=source, loaded=len(kept), reinitialised=tuple(sorted(differing)))


def _read_safetensors(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    """Return header and tensors of a file, or say what is wrong with it."""
    if not path.is_file():
        raise UserError(f"model.weights must exist, got {path}, which does not. Check the path.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys()  # not a mapping: it cannot be iterated over
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"model.weights must be a complete .safetensors file, got {path} ({error}). "
            "It is truncated or of another format; copy or train it again."
        ) from error


def _load_transformers(model: Mask2Former, name: str, *, source: str) -> LoadReport:
    """Load a checkpoint in the library's format: a folder, or a name on the hub."""
    try:
        network, info = _read_transformers(model, name)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unreadable(name, error) from error
    adapt(network)
    own = set(network.state_dict())
    mismatched = {entry[0] for entry in info["mismatched_keys"]} & own
    missing = (set(info["missing_keys"]) - mismatched) & own
    unexpected = {key for key in info["unexpected_keys"] if "relative_position_index" not in key}
    _refuse(name, sorted(mismatched - set(_CLASS_HEAD)), missing, ())
    model.network.load_state_dict(network.state_dict())
    report = LoadReport(
        source=source,
        loaded=len(own) - len(mismatched),
        reinitialised=tuple(f"network.{key}" for key in sorted(mismatched)),
        unexpected=tuple(sorted(unexpected)),
    )
    return report


def _read_transformers(
    model: Mask2Former, name: str
) -> tuple[Mask2FormerForUniversalSegmentation, dict[str, Any]]:
    """Return the network and what the library says of its tensors; a cached one if there is."""
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            # the library would go on with its default configuration
            raise FileNotFoundError("no config.json in it")
        return _from_pretrained(model, name, local=True)
    try:  # with the network down, asking the hub first would take a minute of retries
        return _from_pretrained(model, name, local=True)
    except OSError:
        return _from_pretrained(model, name, local=False)


def _from_pretrained(
    model: Mask2Former, name: str, *, local: bool
) -> tuple[Mask2FormerForUniversalSegmentation, dict[str, Any]]:
    """Load configuration, compare, load weights."""
    ours = model.network.config
    theirs = Mask2FormerConfig.from_pretrained(name, local_files_only=local)
    differing = _differences(theirs, ours)
    if differing:
        raise UserError(
            f"model.weights must have the architecture of preset {model.preset.name!r}, got "
            f"{name}, which differs: {'; '.join(differing)}. Choose the preset that fits."
        )
    with _quiet():
        loaded: Any = Mask2FormerForUniversalSegmentation.from_pretrained(
            name,
            config=ours,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=local,
        )
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars and tables off the console: our report says it in one line."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def _differences(theirs: Mask2FormerConfig, ours: Mask2FormerConfig) -> list[str]:
    """Name the architecture fields in which two configurations differ."""
    pairs = [(field, theirs, ours, field) for field in _ARCHITECTURE]
    pairs += [
        (f"backbone {field}", theirs.backbone_config, ours.backbone_config, field)
        for field in _BACKBONE
    ]
    return [
        f"{label} is {got}, not {wanted}"
        for label, a, b, field in pairs
        if (got := _plain(getattr(a, field, None))) != (wanted := _plain(getattr(b, field, None)))
    ]


def _refuse(
    where: object,
    differing: Collection[str],
    missing: Collection[str],
    unexpected: Collection[str],
) -> None:
    """Raise one error naming the tensors that do not fit, if any."""
    parts = [
        f"{what}: {_listed(sorted(names))}"
        for what, names in (
            ("differing", differing),
            ("missing", missing),
            ("unexpected", unexpected),
        )
        if names
    ]
    if parts:
        raise UserError(
            f"model.weights must fit the network tensor by tensor, got {where} ({'; '.join(parts)})"
            ". It was written for another architecture; choose the preset it was trained with."
        )


def _unreadable(name: str, error: Exception) -> UserError:
    """Explain why a checkpoint in the library's format could not be read."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    remedy = (
        "The folder needs config.json and a complete model.safetensors."
        if Path(name).is_dir()
        else (
            "The hub cannot be reached or has no such checkpoint, and it is not in the local "
            f"cache. On a machine with network run `hf download {name} --local-dir FOLDER`, then "
            "set model.weights=FOLDER; or start fresh with model.weights=null."
        )
    )
    return UserError(f"model.weights must be readable, got {name} ({first_line}). {remedy}")


def _plain(value: object) -> object:
    """Make lists and tuples comparable."""
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """Shape as a plain tuple, for messages."""
    return tuple(tensor.shape)


def _listed(names: Iterable[str]) -> str:
    """List at most five names."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
