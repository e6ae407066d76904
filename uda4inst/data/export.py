"""Writing a labelled data set in other formats: COCO's JSON, and trees named like Cityscapes'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from uda4inst.data.tree import ImageTree


def export_coco(
    dataset: ImageTree,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `images` and `annotations/instances_SPLIT.json` below `out`; return `out`."""
    raise NotImplementedError


def export_cityscapes(
    dataset: ImageTree,
    out: Path,
    *,
    split: str,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `leftImg8bit`, `gtFine` and `names.csv` below `out`; return `out`."""
    raise NotImplementedError
