"""Pictures that are in two splits of one tree: what is evaluated would have been trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from uda4inst.data.reports.findings import Finding, path_below
from uda4inst.data.tree import ImageTree
from uda4inst.reading import open_regular


@dataclass(frozen=True, slots=True)
class _Picture:
    """One image file and the split that lists it."""

    split: str
    path: Path


def find_duplicates(
    trees: Mapping[str, ImageTree],
    wanted: Collection[str],
    *,
    root: Path,
) -> list[Finding]:
    """Return a finding for every image whose bytes another split has too.

    Files are compared by size first, so that few are read.

    Args:
        trees: the images of every split.
        wanted: splits of which at least one must be involved.
        root: of the tree.
    """
    if len(trees) < 2:
        return []
    by_size: dict[int, list[_Picture]] = {}
    for split, tree in trees.items():
        for record in tree.records:
            size = _file_size(record.image)
            if size:  # empty and missing files are told elsewhere
                by_size.setdefault(size, []).append(_Picture(split, record.image))
    alike = [p for group in by_size.values() if len({p.split for p in group}) > 1 for p in group]
    by_content: dict[bytes, list[_Picture]] = {}
    for picture in alike:
        if digest := _digest(picture.path):
            by_content.setdefault(digest, []).append(picture)
    return [found for group in by_content.values() for found in _report(group, wanted, root)]


def _report(group: list[_Picture], wanted: Collection[str], root: Path) -> list[Finding]:
    """Return a finding for each picture that an earlier split of the group has too."""
    findings: list[Finding] = []
    for place, picture in enumerate(group):
        earlier = next((p for p in group[:place] if p.split != picture.split), None)
        if earlier is not None and {earlier.split, picture.split} & set(wanted):
            message = (
                f"image of split {picture.split} must not be in another, got the same content in "
                f"{path_below(root, earlier.path)} of {earlier.split}"
            )
            findings.append(Finding("duplicate", path_below(root, picture.path), message))
    return findings


def _digest(path: Path) -> bytes | None:
    """Return the digest of a file's bytes, None where it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return None


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
