"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError

from uda4inst.errors import UserError

# Begins the name of everything that is not finished yet; such names are removed at the next start.
TEMPORARY_PREFIX: Final = ".tmp-"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_CLOSED: Final = (errno.EACCES, errno.EPERM)
_GONE: Final = (errno.ENOENT, errno.ENOTDIR)
# How the library that writes weights tells the number of an error.
_NUMBER: Final = re.compile(r"os error (\d+)")


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all."""
    with whole_file(path) as temporary:
        write_synced(temporary, content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name to write a file under; it is synced and renamed when the block ends.

    On any error it is removed, and what was there before stays. Several processes may write one
    file at a time: the last to finish wins.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as a JSON file, whole."""
    write_whole(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or the renames in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, or copy it where it cannot have one; for `shutil.copytree`.

    For files that are replaced, never written in place: a change would show under both names.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it becomes `final` when the block ends without an error.

    Whatever has that name already is replaced. Files inside must have been synced by their writer.
    """
    temporary = final.with_name(f"{TEMPORARY_PREFIX}{final.name}")
    remove_folder(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _sync(temporary)
        remove_folder(final)
        temporary.rename(final)
        _sync(final.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, as `whole_folder`, for a name that must be free.

    Raises:
        OSError: something was put there meanwhile; it stays.
    """
    temporary = final.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{final.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        put_in_place(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(temporary: Path, final: Path) -> None:
    """Give a filled folder, or a file, its final name, which must be free or an empty folder's.

    Raises:
        OSError: something else is there; both stay as they are.
    """
    _sync(temporary)
    temporary.rename(final)
    _sync(final.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder if it is there; it loses its name first, so half of it is never seen."""
    if not path.exists():
        return
    doomed = path.with_name(f"{TEMPORARY_PREFIX}removed-{path.name.removeprefix(TEMPORARY_PREFIX)}")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left unfinished in a folder."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith(TEMPORARY_PREFIX):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def disk_errors(what: str, where: Path, *, then: str, room: str = "room") -> Iterator[None]:
    """Turn a full, closed or failing disk into one clear message.

    Args:
        what: what was being written.
        where: its path.
        then: what the user can do when the disk is well again.
        room: what a full disk lacks.

    Raises:
        UserError: instead of an OSError, or of what safetensors makes of one.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        rule, reason, remedy = _fault(error, room)
        raise UserError(
            f"{what} must {rule}, got {reason} ({where}). {remedy}, then {then}."
        ) from error


@contextmanager
def full_disk_errors(*, then: str) -> Iterator[None]:
    """Turn a full or read-only disk, whatever was being written, into one clear message.

    Other errors pass: they may be of anything.

    Args:
        then: what the user can do when the disk is well again.

    Raises:
        UserError: instead of the OSError of such a disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*_FULL, errno.EROFS):
            raise
        rule, reason, remedy = _fault(error, "room")
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(
            f"what is written must {rule}, got {reason}{where}. {remedy}, then {then}."
        ) from error


def _fault(error: OSError | SafetensorError, room: str) -> tuple[str, str, str]:
    """Return what a disk must do, what it does instead, and what helps."""
    if isinstance(error, OSError):
        number = error.errno
    else:
        found = _NUMBER.search(str(error))
        number = int(found.group(1)) if found else None
    if number in _FULL:
        return "fit on the disk", "a full disk", f"Make {room}"
    if number == errno.EROFS:
        remedy = "Mount it for writing, or copy the folder to another disk"
        return "be on a disk that can be written to", "one mounted read-only", remedy
    if number in _CLOSED:
        return "be writable", f"no right to ({error})", "Give this user the right to write there"
    if number in _GONE:
        return "be written", str(error), "See that its folder is there"
    return "be written", str(error), "Look at the disk"
