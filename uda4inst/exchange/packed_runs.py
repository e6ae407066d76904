"""Archives of runs: what a paper needs of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from uda4inst.exchange.archives import Entry, Kind, as_json, extract, write_archive
from uda4inst.exchange.hub_folder import refuse_existing
from uda4inst.reading import MAX_WEIGHTS, read_bytes
from uda4inst.run_folder.checkpoints import (
    LATEST,
    MANIFEST,
    OPTIMIZER,
    OTHERS,
    STATE,
    open_checkpoint,
    weights_alone,
)
from uda4inst.run_folder.layout import RunDir, read_command, read_json
from uda4inst.training.config import config_hash, load_config
from uda4inst.training.groups.modules import modules_of

KIND: Final = Kind(
    format="uda4inst-packed-1",
    called="run",
    needs=("run", "steps", "resumable"),
    file=RunDir(Path()).config.name,
)
SUFFIX: Final = ".run.zip"


def pack_run(
    run: RunDir, out: Path, *, step: int | None = None, is_resumable: bool = False
) -> Path:
    """Write a run as one archive: configuration, weights, scores, metrics, log, versions, commits.

    Args:
        run: the run; of category groups, all of them.
        out: file to write.
        step: step of the checkpoint; None for the latest.
        is_resumable: optimizer, pool and random numbers too, which training goes on from.

    Returns:
        The archive.

    Raises:
        UserError: there is no such checkpoint, or it is damaged; the archive exists or cannot be
            written.
    """
    refuse_existing(out)
    modules = modules_of(run) if run.is_grouped else []
    entries = list(_told(run))
    steps = set[int]()
    for module in modules or [run]:
        checkpoint = open_checkpoint(module.checkpoints, step=step)
        steps.add(checkpoint.step)
        if module is not run:
            entries += _told(module, f"{module.path.relative_to(run.path).as_posix()}/")
        where = checkpoint.folder.relative_to(run.path).as_posix()
        entries += _checkpoint(checkpoint.folder, checkpoint.manifest, where, is_resumable)
    about = {
        "format": KIND.format,
        "run": run.path.resolve().name,  # also where it is called "."
        "steps": sorted(steps),
        "resumable": is_resumable,
        "config_hash": config_hash(load_config(run.config)),
        "commits": list(read_command(run).commits),
        "trained_with": _trained_with(run),
    }
    write_archive(out, about, entries)
    return out


def _told(run: RunDir, prefix: str = "") -> Iterator[Entry]:
    """Yield what tells of a run; a run that still trains may go on writing meanwhile."""
    results = sorted(run.evaluation.glob("*.json")) if run.evaluation.is_dir() else []
    about = (run.config, run.command, run.parent, run.status, run.metrics, run.log)
    for path in (*about, run.choice, run.speeds, *results):
        if path.is_file():
            name = path.relative_to(run.path).as_posix()
            yield Entry(prefix + name, data=read_bytes(path, limit=MAX_WEIGHTS))


def _checkpoint(
    folder: Path, manifest: Mapping[str, Any], where: str, is_resumable: bool
) -> Iterator[Entry]:
    """Yield the files of a checkpoint, or those of its networks with a manifest of these alone."""
    left_out = () if is_resumable else (OPTIMIZER, OTHERS, STATE)
    kept = manifest if is_resumable else weights_alone(manifest, without=left_out)
    for name in kept["files"]:
        yield Entry(f"{where}/{name}", source=folder / name)
    yield Entry(f"{where}/{MANIFEST}", data=as_json(kept))
    latest = f"{PurePosixPath(where).parent}/{LATEST}"
    yield Entry(latest, data=f"{folder.name}\n".encode())


def _trained_with(run: RunDir) -> Any:
    command = read_json(run.command) if run.command.exists() else {}
    return command.get("versions", {}) if isinstance(command, dict) else {}


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A run that came out of an archive.

    Args:
        run: where it lies now.
        steps: of its checkpoints.
        files: how many were compared with their hashes.
        is_resumable: whether training can go on.
    """

    run: RunDir
    steps: tuple[int, ...]
    files: int
    is_resumable: bool


def unpack_run(path: Path, *, root: Path, name: str | None = None) -> Unpacked:
    """Make a run of an archive, every file of it compared with its hash.

    Args:
        path: the archive, from anywhere.
        root: folder that holds the runs.
        name: of the run; None for the one it had.

    Raises:
        UserError: it is no archive of a run, is damaged, was changed, or holds what such an archive
            never does (links, names that lead elsewhere, packed data); nothing is left behind.
    """
    out, contents, files = extract(
        path, KIND, root=root, name=name, check=lambda folder, _: load_config(RunDir(folder).config)
    )
    steps = contents["steps"] if isinstance(contents["steps"], list) else []
    return Unpacked(
        RunDir(out),
        tuple(step for step in steps if type(step) is int),
        files,
        bool(contents["resumable"]),
    )
