"""Where what is dear to find out about a data set is remembered; deleting it is always safe."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's cache: $UDA4INST_CACHE, or uda4inst in $XDG_CACHE_HOME or ~/.cache.

    Without a home it is a folder of the user's in the system's place for temporary files.
    """
    if own := os.environ.get("UDA4INST_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "uda4inst"
    try:
        return Path.home() / ".cache" / "uda4inst"
    except RuntimeError:  # a container may run as a user who has no home
        return Path(tempfile.gettempdir()) / f"uda4inst-{os.getuid()}"


def fingerprint(files: Iterable[Path], *facts: object) -> str:
    """Return what changes with the facts, and with the files' names, sizes and times of change.

    Raises:
        OSError: a file cannot be seen.
    """
    digest = hashlib.sha256(repr(facts).encode())
    for path in files:
        status = path.stat()
        digest.update(os.fsencode(path))
        digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]
