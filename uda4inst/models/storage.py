"""Networks as safetensors of our own: written whole, read tensor by tensor.

Of weights from elsewhere the class head alone may differ from the network at hand; it is then left
as initialised and the report says so. Anything else that differs is refused by name, and so is all
that differs in a file that a run goes on from.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from uda4inst.atomic import whole_file
from uda4inst.errors import UserError
from uda4inst.models.network import LoadReport, Network, listed
from uda4inst.reading import MAX_WEIGHTS, open_regular, parse_json

FORMAT: Final = "uda4inst-1"
_ARCHIVE: Final = b"PK\x03\x04"  # what a zip file begins with
# What torch says of a file that is none of its own, or holds more than values.
_NO_VALUES: Final = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
    MemoryError,
)


def save_network(network: Network, path: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a network as safetensors, whole or not at all.

    Its preset and number of classes go into the header, so that loading can name them.

    Args:
        network: not wrapped for several processes.
        path: file to write.
        dtype: of floating-point tensors in the file; half precision halves it (a shipped start).
    """
    facts = network.architecture
    header = {name: str(facts[name]) for name in ("preset", "num_classes")}
    save_tensors(network.state_dict(), path, header=header, dtype=dtype)


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, *, header: Mapping[str, str], dtype: torch.dtype
) -> None:
    """Write tensors as safetensors, whole or not at all.

    Args:
        tensors: by name, on any device.
        path: file to write.
        header: of the file; the format is added.
        dtype: of floating-point tensors in the file.
    """
    whole = {
        name: tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in tensors.items()
    }
    with whole_file(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask gives; safetensors would leave 0600
        save_file(whole, temporary, metadata={"format": FORMAT, **header})
        _order_header(temporary)
        temporary.chmod(mode)


def _order_header(path: Path) -> None:
    """Sort what safetensors writes in any order: equal networks have equal files."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = parse_json(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(ordered.ljust(length))


def tensors_digest(path: Path) -> str:
    """Return the SHA-256 of the tensors in a file written by `save_network`, without its header."""
    with open_regular(path, limit=MAX_WEIGHTS) as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))  # the header and its length
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def read_archive(path: Path, *, limit: int = MAX_WEIGHTS) -> Any:
    """Return the tensors and plain values in a file of torch's, on the CPU; nothing of it is run.

    Args:
        path: as torch writes files since 1.6.
        limit: most bytes it may have.

    Raises:
        OSError: as `open_regular`.
        ValueError: it is damaged, written otherwise or holds something else; torch's own text,
            which would have the file trusted, is left out.
    """
    with open_regular(path, limit=limit) as file:
        try:
            _require_archive(file)
            return torch.load(file, map_location="cpu", weights_only=True)
        except _NO_VALUES as error:
            raise ValueError(type(error).__name__) from error


def _require_archive(file: BinaryIO) -> None:
    """Raise unless a file is an archive and nothing in it packed.

    Raises:
        ValueError, zipfile.BadZipFile: it is not; torch would read older ones in older ways.
    """
    if file.read(len(_ARCHIVE)) != _ARCHIVE:
        raise ValueError("no archive")
    with zipfile.ZipFile(file) as archive:
        if any(part.file_size > part.compress_size for part in archive.infolist()):
            raise ValueError("packed")
    file.seek(0)


def on_host(value: Any) -> Any:
    """Return nested dicts, lists and tuples with every tensor in the host's memory.

    What goes into a file or to another process carries no device along: it can be opened on a
    machine without one. Equal values make equal files, wherever they come from: equal texts are one
    object, which a pickle names once, and a part of a tensor does not take the whole along.
    """
    if isinstance(value, Tensor):
        whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
        return value.cpu() if whole else value.cpu().clone()
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {on_host(key): on_host(item) for key, item in items}
    if type(value) in (list, tuple):
        return type(value)(on_host(item) for item in value)
    return value


def load_network_file(network: Network, path: Path, *, source: str) -> LoadReport:
    """Fill a network from a file written by `save_network`.

    Args:
        network: of the file's preset; its class head may have another size.
        path: the file.
        source: what the report calls it.

    Raises:
        UserError: the file is missing, damaged, or of another architecture, or its numbers are not
            finite.
    """
    return _fill(network, path, source=source, may_differ=network.class_head)


def load_own_network(network: Network, path: Path, *, source: str) -> LoadReport:
    """Fill a network from a file written by `save_network` of such a one, tensor by tensor.

    Args:
        network: of the file's preset and classes.
        path: the file.
        source: what the report calls it.

    Raises:
        UserError: as `load_network_file`; or the class head has another size.
    """
    return _fill(network, path, source=source, may_differ=())


def _fill(network: Network, path: Path, *, source: str, may_differ: Collection[str]) -> LoadReport:
    """Fill a network; tensors that may differ in size are left as they are if they do."""
    header, tensors = read_tensors(path)
    wanted_preset = network.architecture["preset"]
    preset = header.get("preset", wanted_preset)
    if preset != wanted_preset:
        raise UserError(
            f"model.weights must hold a network of preset {wanted_preset!r}, got {preset!r} "
            f"({path}). Set model.preset={preset}, or choose other weights."
        )
    wanted = network.state_dict()
    differing = {
        name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape
    }
    misfits = [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in differing.difference(may_differ)
    ]
    refuse_misfits(path, misfits, wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys())
    kept = {name: tensor for name, tensor in tensors.items() if name not in differing}
    if strange := not_finite(kept):
        raise UserError(
            f"model.weights must be finite numbers, got others in {listed(strange)} ({path}). "
            "The training they come from failed: take an earlier checkpoint, or other weights."
        )
    network.load_state_dict(kept, strict=False)
    return LoadReport(source=source, loaded=len(kept), reinitialised=tuple(sorted(differing)))


def read_tensors(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    """Return header and tensors of a file.

    Raises:
        UserError: it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"model.weights must exist, got {path}, which does not. Check the path.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys()  # not a mapping: it cannot be iterated over
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, LookupError, RuntimeError) as error:
        raise UserError(
            f"model.weights must be a complete .safetensors file, got {path} ({error}). "
            "It is truncated or of another format; copy or train it again."
        ) from error


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold a NaN or an infinite number, sorted."""
    floats = {n: t for n, t in tensors.items() if t.is_floating_point()}
    if not floats:
        return []
    # One look at the device for all of them.
    found = torch.stack([tensor.isfinite().all() for tensor in floats.values()]).tolist()
    return sorted(name for name, is_well in zip(floats, found, strict=True) if not is_well)


def refuse_misfits(
    where: object,
    differing: Collection[str],
    missing: Collection[str],
    unexpected: Collection[str],
) -> None:
    """Raise one error naming the tensors that do not fit, if any."""
    parts = [
        f"{what}: {listed(sorted(names))}"
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
