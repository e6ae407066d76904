"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is a folder that appears whole (temporary name, sync, rename) and carries a manifest
with the hash of every file. `latest` names the newest and moves last, so a process killed at any
moment leaves a complete one behind. Weights are safetensors; the rest is read with
`weights_only=True`, so a checkpoint from elsewhere cannot run code.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from uda4inst.atomic import (
    disk_errors,
    remove_folder,
    whole_folder,
    write_json,
    write_synced,
    write_whole,
)
from uda4inst.errors import UserError
from uda4inst.methods.updates import STUDENT
from uda4inst.models.network import LoadReport, Network
from uda4inst.models.storage import (
    load_own_network,
    on_host,
    read_archive,
    save_network,
    tensors_digest,
)
from uda4inst.reading import MAX_WEIGHTS, is_file, open_regular, read_json, read_text
from uda4inst.run_folder.layout import RunDir, numbered, versions
from uda4inst.run_folder.manifests import WEIGHTS_ALONE, checked

OPTIMIZER: Final = "optimizer.pt"
STATE: Final = "state.pt"
OTHERS: Final = "others.pt"
MANIFEST: Final = "manifest.json"
LATEST: Final = "latest"

WEIGHTS: Final = ".safetensors"  # of a network's file, after its name
_NEEDED: Final = (f"{STUDENT}{WEIGHTS}", OPTIMIZER, STATE)


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What goes into a checkpoint.

    Args:
        step: optimizer updates done.
        stage: stage in which the last of them was done.
        networks: by name, the student first; none of them wrapped.
        optimizer: the state of the student's.
        others: by name, what is trained beside the student: its "optimizer", and its "weights"
            unless it is one of `networks`.
        state: everything else (method, random numbers), loadable with `weights_only=True`.
        config_hash: of the run's configuration.
        kept: a checkpoint that is never removed to make room (the stage boundary).
    """

    step: int
    stage: int
    networks: Mapping[str, Network]
    optimizer: Mapping[str, Any]
    state: Mapping[str, Any]
    config_hash: str
    kept: bool
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk.

    Args:
        folder: where it lies.
        manifest: what is in it.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def run(self) -> RunDir:
        """The run it belongs to; a checkpoint that was moved elsewhere has none there."""
        return RunDir(self.folder.parent.parent)

    @property
    def step(self) -> int:
        """Optimizer updates done."""
        return int(self.manifest["step"])

    @property
    def stage(self) -> int:
        """Stage in which the last update was done."""
        return int(self.manifest["stage"])

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks it holds, the student first."""
        files = self.manifest["files"]
        names = sorted(name.removesuffix(WEIGHTS) for name in files if name.endswith(WEIGHTS))
        return tuple(sorted(names, key=lambda name: name != STUDENT))

    def load_network(self, network: Network, name: str = STUDENT) -> LoadReport:
        """Fill a network of the same architecture, in which nothing may differ.

        Args:
            network: to fill.
            name: which of `networks`.

        Raises:
            UserError: the checkpoint has no such network, or is of another architecture.
        """
        if name not in self.networks:
            raise UserError(
                f"network must be one of the checkpoint's ({', '.join(self.networks)}), got "
                f"{name!r} ({self.folder}). A teacher exists only in stage 2 of methods that have "
                "one."
            )
        self.check_architecture(network)
        file = self.folder / f"{name}{WEIGHTS}"
        return load_own_network(network, file, source=str(file))

    def digest(self, name: str) -> str:
        """Return a hash of a network's weights: equal ones are of equal networks."""
        return tensors_digest(self.folder / f"{name}{WEIGHTS}")

    def load(self, name: str) -> dict[str, Any]:
        """Return the content of `optimizer.pt`, `others.pt` or `state.pt`, on the CPU.

        Raises:
            UserError: the checkpoint has no such file, or it holds something else.
        """
        if self.manifest.get(WEIGHTS_ALONE):
            raise UserError(
                f"checkpoint must hold {name} for training to go on, got networks alone "
                f"({self.folder}). Its run was packed without: uda4inst pack RUN --resumable"
            )
        if name not in self.manifest["files"]:
            raise UserError(
                f"checkpoint must hold {name}, got {', '.join(self.manifest['files'])} "
                f"({self.folder}). It is one of another method: choose one of this run's."
            )
        path = self.folder / name
        try:
            found = read_archive(path, limit=int(self.manifest["files"][name]["bytes"]))
        except (OSError, ValueError) as error:
            raise self._other(name, str(error)) from error
        if not isinstance(found, dict):
            raise self._other(name, type(found).__name__)
        return found

    def _other(self, name: str, got: str) -> UserError:
        return UserError(
            f"{name} of a checkpoint must hold tensors and plain values by name, got something "
            f"else ({got}; {self.folder / name}). {_older(self.folder)}"
        )

    def check_architecture(self, network: Network) -> None:
        """Raise unless the checkpoint is one of this network.

        Raises:
            UserError: it was written for another architecture.
        """
        wanted, got = dict(network.architecture), dict(self.manifest["architecture"])
        if got != wanted:
            raise UserError(
                f"checkpoint must be of architecture {_listed(wanted)}, got {_listed(got)} "
                f"({self.folder}). Set model.preset={got.get('preset')}, or choose another "
                "checkpoint."
            )


def save_checkpoint(checkpoints: Path, contents: Contents, *, kept: int) -> Path:
    """Write a checkpoint, move `latest` to it, and remove old ones.

    Args:
        checkpoints: the run's `checkpoints/`.
        contents: what to write.
        kept: how many to keep, beside those marked as kept.

    Returns:
        The checkpoint's folder.

    Raises:
        UserError: the disk is full or fails; earlier checkpoints are as they were.
    """
    final = checkpoints / f"{contents.step:08d}"
    earlier = latest_step(checkpoints)
    after = (
        "The run starts again from its beginning"
        if earlier is None
        else (f"The run goes on from step {earlier}")
    )
    with disk_errors(
        f"checkpoint of step {contents.step}",
        final,
        then=f"`uda4inst resume {checkpoints.parent}`. {after}",
        room=f"room for about {_mebibytes(contents)} MiB",
    ):
        with whole_folder(final) as folder:
            _write(folder, contents)
        write_whole(checkpoints / LATEST, final.name + "\n")
    _make_room(checkpoints, kept=kept)
    return final


def _write(folder: Path, contents: Contents) -> None:
    for name, network in contents.networks.items():
        save_network(network, folder / f"{name}{WEIGHTS}")
    write_synced(folder / OPTIMIZER, _packed(contents.optimizer))
    if contents.others:
        write_synced(folder / OTHERS, _packed(contents.others))
    write_synced(folder / STATE, _packed(contents.state))
    manifest = {
        "step": contents.step,
        "stage": contents.stage,
        "kept": contents.kept,
        "architecture": dict(contents.networks[STUDENT].architecture),
        "config_hash": contents.config_hash,
        "files": {path.name: _fingerprint(path) for path in sorted(folder.iterdir())},
        "versions": versions(),
    }
    write_json(folder / MANIFEST, manifest)


def _mebibytes(contents: Contents) -> int:
    """Return about how much room a checkpoint takes."""

    def size(value: Any) -> int:
        if isinstance(value, Tensor):
            return value.numel() * value.element_size()
        if isinstance(value, Mapping):
            return sum(size(item) for item in value.values())
        return sum(size(item) for item in value) if isinstance(value, list | tuple) else 0

    networks = [network.state_dict() for network in contents.networks.values()]
    values = [networks, contents.optimizer, contents.others, contents.state]
    return 1 + size(values) // 2**20


def _packed(value: Mapping[str, Any]) -> bytes:
    """Return torch's file of a value; in memory, because torch hides what a full disk said."""
    buffer = io.BytesIO()
    torch.save(on_host(dict(value)), buffer)
    return buffer.getvalue()


def _fingerprint(path: Path) -> dict[str, Any]:
    with open_regular(path, limit=MAX_WEIGHTS) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def _make_room(checkpoints: Path, *, kept: int) -> None:
    """Remove the oldest checkpoints beyond `kept`, not counting those that are kept for good."""
    passing = [
        folder
        for step in numbered(checkpoints)
        if not _is_kept(folder := checkpoints / f"{step:08d}")
    ]
    for folder in passing[:-kept]:
        remove_folder(folder)


def _is_kept(folder: Path) -> bool:
    try:
        return bool(read_json(folder / MANIFEST)["kept"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def latest_step(checkpoints: Path) -> int | None:
    """Return the step of the newest complete checkpoint; None before the first."""
    try:
        step = int(read_text(checkpoints / LATEST, limit=64))
    except (OSError, ValueError):
        step = None
    complete = complete_steps(checkpoints)
    if step in complete:
        return step
    return complete[-1] if complete else None


def open_checkpoint(checkpoints: Path, *, step: int | None = None) -> Checkpoint:
    """Return a checkpoint after comparing every file with its manifest.

    Args:
        checkpoints: a run's `checkpoints/`.
        step: which one; None for the latest.

    Raises:
        UserError: there is none, or a file is missing, truncated or changed.
    """
    known = numbered(checkpoints)
    chosen = latest_step(checkpoints) if step is None else step
    if chosen is None or chosen not in known:
        listed = ", ".join(str(s) for s in known) or "none"
        wanted = "a checkpoint" if step is None else f"step {step}"
        raise UserError(
            f"checkpoint must be one of the run's (steps: {listed}), got {wanted} "
            f"({checkpoints}). Choose one of these steps, or start the run again."
        )
    return read_checkpoint(checkpoints / f"{chosen:08d}")


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder after comparing every file with its manifest.

    Raises:
        UserError: a file is missing, truncated or changed; the message names older checkpoints.
    """
    path = folder / MANIFEST
    try:
        manifest = checked(read_json(path), needed=_NEEDED, networks=_NEEDED[:1])
    except (OSError, ValueError) as error:
        raise UserError(
            f"checkpoint must have a readable {MANIFEST}, got {error} ({path}). {_older(folder)}"
        ) from error
    files, step = manifest["files"], manifest["step"]
    if len(folder.name) == 8 and folder.name.isdigit() and int(folder.name) != step:
        raise UserError(
            f"checkpoint must be of the step that its folder is named after, got step {step} "
            f"({path}). {_older(folder)}"
        )
    faults = [
        f"{name} {fault}"
        for name, facts in files.items()
        if (fault := _fault(folder / name, facts)) is not None
    ]
    if faults:
        raise UserError(
            f"checkpoint of step {step} must be as it was written, got {'; '.join(faults)} "
            f"({folder}). {_older(folder)}"
        )
    return Checkpoint(folder, manifest)


def weights_alone(manifest: Mapping[str, Any], *, without: Collection[str]) -> dict[str, Any]:
    """Return the manifest of a checkpoint that keeps its networks and nothing to go on from.

    Args:
        manifest: of the whole one.
        without: names of the files that are left out.
    """
    files = {name: facts for name, facts in manifest["files"].items() if name not in without}
    return {**manifest, "files": files, WEIGHTS_ALONE: True}


def _fault(path: Path, facts: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a file, or None."""
    if not is_file(path):
        return "missing"
    size = path.stat().st_size
    if size != facts["bytes"]:
        return f"truncated ({size} of {facts['bytes']} bytes)"
    if _fingerprint(path)["sha256"] != facts["sha256"]:
        return "changed (its sha256 differs)"
    return None


def _older(folder: Path) -> str:
    """Return what to do about an unusable checkpoint."""
    others = [s for s in numbered(folder.parent) if f"{s:08d}" != folder.name]
    if not others:
        return "There is no other checkpoint: start the run again under another name."
    older = [s for s in others if f"{s:08d}" < folder.name] or others
    return (
        f"Go on from another one: `uda4inst resume {folder.parent.parent} --from {older[-1]} "
        f"--replace` (steps: {', '.join(str(s) for s in others)})."
    )


def return_to(checkpoints: Path, step: int, *, kept: int) -> None:
    """Make a step the latest; remove the checkpoints after it, and what a kill left undone.

    Args:
        checkpoints: a run's `checkpoints/`.
        step: step the run goes on from; 0 when it begins anew.
        kept: how many to keep, beside those marked as kept.
    """
    if (checkpoints / f"{step:08d}").is_dir():
        write_whole(checkpoints / LATEST, f"{step:08d}\n")
    for other in numbered(checkpoints):
        folder = checkpoints / f"{other:08d}"
        if other > step or not (folder / MANIFEST).is_file():
            remove_folder(folder)
    _make_room(checkpoints, kept=kept)


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def complete_steps(checkpoints: Path) -> list[int]:
    """Return the steps of a run's complete checkpoints, oldest first; files are not compared."""
    return [s for s in numbered(checkpoints) if (checkpoints / f"{s:08d}" / MANIFEST).is_file()]
