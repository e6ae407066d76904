"""A reader of a file of somebody else's, as a function of the file's bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from uda4inst.errors import UserError

Read: TypeAlias = Callable[[Path, bytes], object]


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Args:
        read: puts bytes into a folder of its own, and reads them.
        seeds: whole files to begin with; those that a tree has are found by `seeds_of`.
        refusals: errors that may come.
    """

    read: Read
    seeds: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = (UserError,)

    def attempt(self, folder: Path, data: bytes) -> None:
        """Read bytes; raise what a reader should not."""
        try:
            self.read(folder, data)
        except self.refusals:
            return


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def file_named(name: str, read: Callable[[Path], object]) -> Read:
    """Return what reads a file of this name."""
    return lambda folder, data: read(put(folder / name, data))


def as_json(*documents: Any) -> list[bytes]:
    return [json.dumps(document).encode() for document in documents]
