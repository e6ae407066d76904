"""Reading files: regular ones alone, of a bounded size, and JSON of a bounded depth.

Nobody else opens a file of somebody's to read it, or calls a parser (tests/test_reading.py). What
is refused is an OSError or a ValueError, which each reader turns into the message of its file. The
bounds are listed in docs/reference/files.md.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_TEXT: Final = 2**26  # lists of names, and the JSON of runs: 64 MiB
MAX_DATA: Final = 2**31  # annotations of a whole data set, arrays, metrics: 2 GiB
MAX_WEIGHTS: Final = 2**36  # networks and what trains them: 64 GiB
MAX_DEPTH: Final = 64  # of values in values; the deepest file of ours has 8
MAX_DIGITS: Final = 19  # of a whole number: what 64 bits hold
_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path, *, limit: int = MAX_DATA) -> io.BufferedReader:
    """Open a regular file to read its bytes; whatever else has the name is refused, not waited for.

    Args:
        path: the file.
        limit: most bytes it may have.

    Raises:
        OSError: it is missing, unreadable, too large or no regular file, or no name of a file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, f"no name of a file: {error}", str(path)) from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "another thing")
            raise OSError(errno.EINVAL, f"{kind}, which is no regular file", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"more than {limit:,} bytes: {status.st_size:,}", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_file(path: Path) -> bool:
    """Whether a file is there, also of a name too long for one (`Path.is_file` raises)."""
    return _is_there(path.is_file)


def is_folder(path: Path) -> bool:
    """Whether a folder is there, also of a name too long for one (`Path.is_dir` raises)."""
    return _is_there(path.is_dir)


def _is_there(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def read_bytes(path: Path, *, limit: int = MAX_TEXT) -> bytes:
    """Return what a regular file held when it was opened.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path, limit=limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def read_text(path: Path, *, limit: int = MAX_TEXT, encoding: str = "utf-8") -> str:
    """Return the text of a regular file, each end of a line as a newline.

    Raises:
        OSError: as `open_regular`.
        UnicodeDecodeError: it is no such text; a ValueError.
    """
    return io.TextIOWrapper(io.BytesIO(read_bytes(path, limit=limit)), encoding=encoding).read()


def read_json(path: Path, *, limit: int = MAX_TEXT, encoding: str = "utf-8") -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: as `open_regular`.
        ValueError: as `parse_json`; it is no text.
    """
    return parse_json(read_text(path, limit=limit, encoding=encoding))


def parse_json(text: str | bytes, *, allow_nan: bool = False) -> Any:
    """Return the value that JSON says.

    Args:
        text: the JSON.
        allow_nan: let NaN and numbers beyond a float's range through, for readers that name the
            entry that has them.

    Raises:
        ValueError: it is no JSON, says a key twice, a number that is not finite or has more than
            `MAX_DIGITS` digits, or values more than `MAX_DEPTH` deep in others.

    Example:
        >>> parse_json('{"step": 3}')
        {'step': 3}
    """
    strictly = {"parse_constant": _refuse_constant, "parse_float": _finite, "parse_int": _whole}
    try:
        value = json.loads(text, object_pairs_hook=_unique, **({} if allow_nan else strictly))
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice[:80]!r} twice")
    return found


def _whole(digits: str) -> int:
    if (count := len(digits.lstrip("-"))) > MAX_DIGITS:
        raise ValueError(f"a number of {count} digits")
    return int(digits)


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:20]}, which is no finite number")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name}, which is no finite number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = (v.values() if type(v) is dict else v for v in level if type(v) in (dict, list))
        level = [item for part in inner for item in part if type(item) in (dict, list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"values more than {MAX_DEPTH} deep in others")


def read_arrays(path: Path, *, limit: int = MAX_DATA) -> dict[str, NDArray[Any]]:
    """Return the arrays in an `.npz` file.

    Args:
        path: the file.
        limit: most bytes that it may have, and that its arrays may have together.

    Raises:
        OSError: as `open_regular`.
        ValueError: it is no such file, or damaged, or its arrays are of objects or too large.
    """
    with open_regular(path, limit=limit) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if sum(member.file_size for member in members) > limit:
                    raise ValueError(f"arrays of more than {limit:,} bytes")
                return {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
        except _DAMAGED as error:
            raise ValueError(f"a cut or damaged file: {error}") from error


# What a header that is no array's makes numpy raise.
_STRANGE: Final = (SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError)
# What zipfile says of files that are none, are cut, or are packed in a way that it does not know.
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def read_array(path: Path, *, limit: int = MAX_TEXT) -> NDArray[Any]:
    """Return the array in an `.npy` file.

    Raises:
        OSError: as `open_regular`.
        ValueError: it is no such file, or cut, or an array of objects.
    """
    return _array(read_bytes(path, limit=limit))


def _array(data: bytes) -> NDArray[Any]:
    """Return the array in the bytes of an `.npy` file; no memory is taken for what is not there."""
    file = io.BytesIO(data)
    known: Mapping[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(file)
        if version not in known:
            raise ValueError(f"version {version} of the format")
        shape, in_columns, dtype = known[version](file)
    except _STRANGE as error:
        raise ValueError(f"no array: {type(error).__name__}") from error
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"no whole array of {dtype} {shape}")
    values = np.frombuffer(bytearray(data[file.tell() :]), dtype=dtype)
    return values.reshape(shape, order="F" if in_columns else "C")
