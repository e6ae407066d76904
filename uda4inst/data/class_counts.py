"""How much of each class every image shows, in instances or in pixels, remembered between runs.

Reading all label maps of a large set takes minutes, once: the counts are kept in the user's cache
for as long as the label files' sizes and times of change stay what they were.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray
from tqdm import tqdm

from uda4inst.atomic import whole_file
from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.data.files.cache import cache_folder, fingerprint
from uda4inst.data.parallel import in_order
from uda4inst.data.tree import ImageTree
from uda4inst.reading import read_array

_log = logging.getLogger(__name__)

_FIRST: Final = 64  # images read here, to see how long all will take
_PATIENCE: Final = 5.0  # seconds of reading that are not worth starting processes for


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is counted: the cache's folder of it, its word, how many classes, and how."""

    folder: str
    word: str
    classes: Callable[[ImageTree], int]
    count_image: Callable[[ImageTree, int], NDArray[np.int64]]


def class_counts(
    dataset: ImageTree, *, workers: int | None = None
) -> Int64[np.ndarray, "images things"]:
    """Return the instances of each thing class in every image, filtered objects left out.

    Args:
        dataset: opened with labels.
        workers: processes that read; None for one per core.

    Raises:
        UserError: a label file cannot be read.
    """
    return _remembered(dataset, _INSTANCES, workers)


def pixel_counts(
    dataset: ImageTree, *, workers: int | None = None
) -> Int64[np.ndarray, "images 19"]:
    """Return the pixels of each class in every image at its full size, ignored ones left out.

    Args:
        dataset: opened with labels.
        workers: processes that read; None for one per core.

    Raises:
        UserError: a label file cannot be read.
    """
    return _remembered(dataset, _PIXELS, workers)


def _count_things(dataset: ImageTree) -> int:
    return len(dataset.thing_classes)


def _count_instances(dataset: ImageTree, index: int) -> Int64[np.ndarray, " things"]:
    labels = dataset.read_instances(index).labels
    return np.bincount(labels, minlength=_count_things(dataset)).astype(np.int64)


def _count_pixels(dataset: ImageTree, index: int) -> Int64[np.ndarray, " 19"]:
    counts = np.bincount(dataset.read_semantic(index).ravel(), minlength=len(SEMANTIC_CLASSES))
    return counts[: len(SEMANTIC_CLASSES)].astype(np.int64)


_INSTANCES: Final = _Kind("class_counts", "classes", _count_things, _count_instances)
_PIXELS: Final = _Kind("pixel_counts", "pixels", lambda _: len(SEMANTIC_CLASSES), _count_pixels)


def _remembered(dataset: ImageTree, kind: _Kind, workers: int | None) -> NDArray[np.int64]:
    """Return the counts of (images, classes), from the cache if it has them."""
    files = [path for record in dataset.records for path in record.labels]
    if dataset.options.objects.is_active:
        files += [path for record in dataset.records for path in dataset.fact_files(record)]
    key = fingerprint(files, dataset.name, dataset.split, dataset.options)
    path = cache_folder() / kind.folder / f"{key}.npy"
    known = _load(path, (len(dataset), kind.classes(dataset)))
    if known is not None:
        return known
    _log.info("%s: counting the %s of %d images, once", dataset.root, kind.word, len(dataset))
    counts = _count(dataset, kind, workers)
    _save(path, counts)
    return counts


def _count(dataset: ImageTree, kind: _Kind, workers: int | None) -> NDArray[np.int64]:
    count = functools.partial(kind.count_image, dataset)
    few = min(_FIRST, len(dataset))
    started = time.monotonic()
    first = [count(index) for index in range(few)]
    expected = (time.monotonic() - started) * (len(dataset) / few - 1)
    if expected <= _PATIENCE:
        return np.stack([*first, *(count(index) for index in range(few, len(dataset)))])
    everything = in_order(count, len(dataset), workers=workers)
    bar = tqdm(everything, total=len(dataset), desc=f"counting {kind.word}", unit="image")
    return np.stack(list(bar))


def _load(path: Path, shape: tuple[int, int]) -> NDArray[np.int64] | None:
    try:
        counts = read_array(path)
    except (OSError, ValueError):
        return None
    return counts if counts.shape == shape and counts.dtype == np.int64 else None


def _save(path: Path, counts: NDArray[np.int64]) -> None:
    """Keep the counts, whole or not at all; a cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            np.save(temporary, counts)
    except OSError as error:
        _log.info("class counts are not remembered: %s", error)
