"""Archives of what was trained: one file, checked when it comes back.

The archive is a zip in which nothing is compressed, so that it holds no more than its own size.
`packed.json` says what is in it, with a hash of every file, and on what it was packed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

import uda4inst
from uda4inst.atomic import disk_errors, new_folder, whole_file
from uda4inst.errors import UserError
from uda4inst.exchange.hub_folder import refuse_existing
from uda4inst.reading import MAX_TEXT, MAX_WEIGHTS, open_regular, parse_json
from uda4inst.run_folder.layout import check_run_name

CONTENTS: Final = "packed.json"
_PART: Final = 2**20
_DAMAGED: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class Entry:
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


def write_archive(out: Path, about: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Write an archive, whole or not at all.

    Args:
        out: file to write.
        about: what `packed.json` says beside versions and files; its `format` in any case.
        entries: the files.

    Raises:
        UserError: it exists or cannot be written.
    """
    contents = {
        **about,
        "packed_with": _packed_with(),
        "files": {entry.name: entry.fingerprint() for entry in entries},
    }
    with disk_errors("OUT", out, then="call again, or choose another name"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            whole_file(out) as temporary,
            # Some systems date files 1970, before the format's first year.
            zipfile.ZipFile(temporary, "w", strict_timestamps=False) as archive,
        ):
            for entry in (Entry(CONTENTS, data=as_json(contents)), *entries):
                entry.write(archive)


def _packed_with() -> dict[str, Any]:
    installed = metadata.distributions()
    packages = {str(d.metadata["Name"]): d.version for d in installed if d.metadata["Name"]}
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        uda4inst.__name__: uda4inst.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def as_json(value: Any) -> bytes:
    """Return a value as a JSON file has it."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """What an archive holds.

    Args:
        format: as `packed.json` names it.
        called: in words: a run.
        needs: keys of `packed.json`; the first has the name.
        file: that it holds in any case.
    """

    format: str
    called: str
    needs: tuple[str, ...]
    file: str


def read_format(path: Path) -> str:
    """Return the format that an archive says it has.

    Raises:
        UserError: it is no archive of this project, or damaged.
    """
    with _opened(path) as (archive, _):
        return str(_contents(archive)["format"])


def extract(
    path: Path,
    kind: Kind,
    *,
    root: Path,
    name: str | None = None,
    check: Callable[[Path, Mapping[str, Any]], object],
) -> tuple[Path, Mapping[str, Any], int]:
    """Make a folder of an archive, every file of it compared with its hash.

    Args:
        path: the archive, from anywhere.
        kind: what it must hold.
        root: where the folder comes to lie.
        name: of the folder; None for the one it had.
        check: opens the folder, for what `packed.json` says, before it is in its place.

    Returns:
        The folder, what `packed.json` says, and how many files were compared.

    Raises:
        UserError: it is no archive of the kind, is damaged, was changed, or holds what such an
            archive never does (links, names that lead elsewhere, packed data), or `check` refuses
            it; nothing is left behind.
    """
    with _opened(path) as (archive, size):
        contents = _contents(archive)
        _check_kind(contents, kind)
        members = _checked_members(archive, contents["files"], size)
        out = root / check_run_name(name or str(contents[kind.needs[0]]))
        refuse_existing(out, called="NAME")
        with (
            disk_errors(f"unpacked {kind.called}", out, then="unpack again"),
            new_folder(out) as folder,
        ):
            for member in members:
                _extract(archive, member, folder, contents["files"][member.filename])
            _check_content(folder, contents, check, path)
    return out, contents, len(members)


def _check_content(
    folder: Path,
    contents: Mapping[str, Any],
    check: Callable[[Path, Mapping[str, Any]], object],
    path: Path,
) -> None:
    """Refuse what is whole and yet no run or suite here, such as that of a newer version."""
    try:
        check(folder, contents)
    except UserError as error:  # people know the archive, not the folder that is about to go
        raise UserError(str(error).replace(str(folder), str(path))) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, int]]:
    """Open an archive, with its size.

    Raises:
        UserError: it cannot be read, or what is done with it finds that it is damaged.
    """
    try:
        with open_regular(path, limit=MAX_WEIGHTS) as file, zipfile.ZipFile(file) as archive:
            yield archive, os.fstat(file.fileno()).st_size
    except _DAMAGED as error:
        if isinstance(error, UserError):
            raise
        raise _refused(path, str(error)) from error
    except OSError as error:
        raise _refused(path, str(error)) from error


def _refused(path: Path, reason: str) -> UserError:
    return UserError(
        f"ARCHIVE must be one that `uda4inst pack` wrote, as it wrote it, got {reason} ({path}). "
        "Nothing was unpacked. Copy it again, or ask for another."
    )


def _contents(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    """Return what `packed.json` says.

    Raises:
        ValueError: it is missing, or says something else.
    """
    infos = [info for info in archive.infolist() if info.filename == CONTENTS]
    if len(infos) != 1 or _fault(infos[0]) or infos[0].file_size > MAX_TEXT:
        raise ValueError(f"no {CONTENTS}")
    found = parse_json(archive.read(infos[0]))
    if not isinstance(found, dict) or "format" not in found:
        raise ValueError(f"a {CONTENTS} of another format")
    return found


def _check_kind(contents: Mapping[str, Any], kind: Kind) -> None:
    """Raise unless `packed.json` is of a kind.

    Raises:
        ValueError: it is not.
    """
    if contents["format"] != kind.format:
        raise ValueError(f"a {CONTENTS} of another format")
    files = contents.get("files")
    if not isinstance(files, dict) or kind.file not in files:
        raise ValueError(f"a {CONTENTS} without the files of a {kind.called}")
    for name, facts in files.items():
        if not isinstance(facts, dict) or type(facts.get("bytes")) is not int:
            raise ValueError(f"no size of {name[:200]!r}")
    if missing := [key for key in kind.needs if key not in contents]:
        raise ValueError(f"a {CONTENTS} without {', '.join(missing)}")


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
