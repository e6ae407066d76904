"""Archives of runs: what a paper needs of one in one file, checked when it comes back.

The archive is a zip in which nothing is compressed, so that it holds no more than its own size.
`packed.json` says what is in it, with a hash of every file, and on what it was trained and packed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

import uda4inst
from uda4inst.atomic import disk_errors, new_folder, whole_file
from uda4inst.errors import UserError
from uda4inst.exchange.hub_folder import refuse_existing
from uda4inst.reading import MAX_TEXT, MAX_WEIGHTS, open_regular, parse_json, read_bytes
from uda4inst.run_folder.checkpoints import (
    MANIFEST,
    OPTIMIZER,
    OTHERS,
    STATE,
    open_checkpoint,
    weights_alone,
)
from uda4inst.run_folder.layout import RunDir, check_run_name, read_command, read_json
from uda4inst.training.config import config_hash, load_config
from uda4inst.training.groups.category_groups import modules_of

FORMAT: Final = "uda4inst-packed-1"
CONTENTS: Final = "packed.json"
SUFFIX: Final = ".run.zip"
# What tells of a run beside its checkpoint and its scores, where it is there.
_TOLD: Final = (
    "config.yaml",
    "command.json",
    "parent.json",
    "status.json",
    "metrics.jsonl",
    "log.txt",
    "choice.json",
    "bench.jsonl",
)
_PART: Final = 2**20
_DAMAGED: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of the archive: another file as it is, or some bytes."""

    name: str
    source: Path | None = None
    data: bytes = b""

    def fingerprint(self) -> dict[str, Any]:
        """Return its hash and size."""
        if self.source is None:
            return {"sha256": hashlib.sha256(self.data).hexdigest(), "bytes": len(self.data)}
        with open_regular(self.source, limit=MAX_WEIGHTS) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"sha256": digest, "bytes": file.tell()}

    def write(self, archive: zipfile.ZipFile) -> None:
        """Add it to an archive."""
        if self.source is None:
            archive.writestr(zipfile.ZipInfo(self.name), self.data)
        else:
            archive.write(self.source, self.name)


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
            entries += _told(module, f"modules/{module.name}/")
        where = checkpoint.folder.relative_to(run.path).as_posix()
        entries += _checkpoint(checkpoint.folder, checkpoint.manifest, where, is_resumable)
    contents = _contents(run, sorted(steps), entries, is_resumable=is_resumable)
    about = _Entry(CONTENTS, data=_json(contents))
    with disk_errors("OUT", out, then="call again, or choose another name"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            whole_file(out) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        ):
            for entry in (about, *entries):
                entry.write(archive)
    return out


def _told(run: RunDir, prefix: str = "") -> Iterator[_Entry]:
    """Yield what tells of a run; a run that still trains may go on writing meanwhile."""
    results = sorted(run.evaluation.glob("*.json")) if run.evaluation.is_dir() else []
    for path in (*(run.path / name for name in _TOLD), *results):
        if path.is_file():
            name = path.relative_to(run.path).as_posix()
            yield _Entry(prefix + name, data=read_bytes(path, limit=MAX_WEIGHTS))


def _checkpoint(
    folder: Path, manifest: Mapping[str, Any], where: str, is_resumable: bool
) -> Iterator[_Entry]:
    """Yield the files of a checkpoint, or those of its networks with a manifest of these alone."""
    left_out = () if is_resumable else (OPTIMIZER, OTHERS, STATE)
    kept = manifest if is_resumable else weights_alone(manifest, without=left_out)
    for name in kept["files"]:
        yield _Entry(f"{where}/{name}", source=folder / name)
    yield _Entry(f"{where}/{MANIFEST}", data=_json(kept))
    latest = f"{PurePosixPath(where).parent}/latest"
    yield _Entry(latest, data=f"{folder.name}\n".encode())


def _contents(
    run: RunDir, steps: list[int], entries: list[_Entry], *, is_resumable: bool
) -> dict[str, Any]:
    """Return what `packed.json` says."""
    command = read_json(run.command) if run.command.exists() else {}
    installed = metadata.distributions()
    packages = {str(d.metadata["Name"]): d.version for d in installed if d.metadata["Name"]}
    return {
        "format": FORMAT,
        "run": run.name,
        "steps": steps,
        "resumable": is_resumable,
        "config_hash": config_hash(load_config(run.config)),
        "commits": list(read_command(run).commits),
        "trained_with": command.get("versions", {}) if isinstance(command, dict) else {},
        "packed_with": {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "uda4inst": uda4inst.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
        },
        "files": {entry.name: entry.fingerprint() for entry in entries},
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


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
    try:
        with open_regular(path, limit=MAX_WEIGHTS) as file, zipfile.ZipFile(file) as archive:
            contents = _checked_contents(archive)
            members = _checked_members(archive, contents["files"], os.fstat(file.fileno()).st_size)
            out = root / check_run_name(name or str(contents["run"]))
            refuse_existing(out, called="NAME")
            with (
                disk_errors("unpacked run", out, then="unpack again"),
                new_folder(out) as folder,
            ):
                for member in members:
                    _extract(archive, member, folder, contents["files"][member.filename])
    except _DAMAGED as error:
        if isinstance(error, UserError):
            raise
        raise _refused(path, str(error)) from error
    except OSError as error:
        raise _refused(path, str(error)) from error
    run = RunDir(out)
    load_config(run.config)
    steps = tuple(step for step in contents["steps"] if type(step) is int)
    return Unpacked(run, steps, len(members), bool(contents["resumable"]))


def _refused(path: Path, reason: str) -> UserError:
    return UserError(
        f"ARCHIVE must be one that `uda4inst pack` wrote, as it wrote it, got {reason} ({path}). "
        "Nothing was unpacked. Copy it again, or ask for another."
    )


def _checked_contents(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    """Return what `packed.json` says.

    Raises:
        ValueError: it is missing, or says something else.
    """
    infos = [info for info in archive.infolist() if info.filename == CONTENTS]
    if len(infos) != 1 or _fault(infos[0]) or infos[0].file_size > MAX_TEXT:
        raise ValueError(f"no {CONTENTS}")
    found = parse_json(archive.read(infos[0]))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"a {CONTENTS} of another format")
    files = found.get("files")
    if not isinstance(files, dict) or "config.yaml" not in files:
        raise ValueError(f"a {CONTENTS} without the files of a run")
    for name, facts in files.items():
        if not isinstance(facts, dict) or type(facts.get("bytes")) is not int:
            raise ValueError(f"no size of {name[:200]!r}")
    if not isinstance(found.get("steps"), list) or "resumable" not in found or "run" not in found:
        raise ValueError(f"a {CONTENTS} without run, steps and resumable")
    return found


def _checked_members(
    archive: zipfile.ZipFile, files: Mapping[str, Any], size: int
) -> list[zipfile.ZipInfo]:
    """Return the files to take out.

    Args:
        archive: open.
        files: by name, what `packed.json` says of them.
        size: of the archive in bytes.

    Raises:
        ValueError: they are not those files, or what no such archive holds.
    """
    members = [info for info in archive.infolist() if info.filename != CONTENTS]
    names = [info.filename for info in members]
    if len(set(names)) < len(names):
        raise ValueError("a name twice")
    if differing := sorted(set(names) ^ files.keys()):
        raise ValueError(f"files that are missing or not listed: {', '.join(differing[:5])}")
    for info in members:
        if fault := _fault(info):
            raise ValueError(f"{fault} ({info.filename[:200]!r})")
        if info.file_size != files[info.filename]["bytes"]:
            raise ValueError(f"another size than listed ({info.filename[:200]!r})")
    parents = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    if both := parents.intersection(names):
        raise ValueError(f"a file that is a folder, too ({sorted(both)[0][:200]!r})")
    if sum(info.file_size for info in members) > size:
        raise ValueError("more data than its own size")
    return members


def _fault(info: zipfile.ZipInfo) -> str | None:
    """Return what is wrong with an entry of an archive, by its header alone."""
    name = info.filename
    parts = name.split("/")
    if "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
        return "a name that leads elsewhere"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "a link, or another thing than a file"
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        return "packed data"
    return "encrypted data" if info.flag_bits & 1 else None


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, facts: Mapping[str, Any]
) -> None:
    """Write one file of an archive into a folder, and compare it.

    Raises:
        ValueError: its hash is another.
    """
    final = folder / member.filename
    final.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, (folder / member.filename).open("xb") as target:
        digest = _copied(source, target)
        target.flush()
        os.fsync(target.fileno())
    if digest != facts.get("sha256"):
        raise ValueError(f"another content than listed ({member.filename!r}: its sha256 differs)")


def _copied(source: Any, target: BinaryIO) -> str:
    """Copy in parts; return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while part := source.read(_PART):
        digest.update(part)
        target.write(part)
    return digest.hexdigest()
