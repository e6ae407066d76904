"""How many instances of each class every image shows, remembered between runs.

Reading all label maps of a large set takes minutes, once: the counts are kept in the user's cache
for as long as the label files' sizes and times of change stay what they were.
"""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from uda4inst.atomic import whole_file
from uda4inst.classes import NUM_THINGS
from uda4inst.data.files.cache import cache_folder, fingerprint
from uda4inst.data.parallel import in_order
from uda4inst.data.tree import ImageTree

_log = logging.getLogger(__name__)

_FIRST: Final = 64  # images read here, to see how long all will take
_PATIENCE: Final = 5.0  # seconds of reading that are not worth starting processes for


def class_counts(
    dataset: ImageTree, *, workers: int | None = None
) -> Int64[np.ndarray, "images 8"]:
    """Return the instances of each thing class in every image, filtered objects left out.

    Args:
        dataset: opened with labels.
        workers: processes that read; None for one per core.

    Raises:
        UserError: a label file cannot be read.
    """
    label_files = (path for record in dataset.records for path in record.labels)
    key = fingerprint(label_files, dataset.name, dataset.split, dataset.options)
    path = cache_folder() / "class_counts" / f"{key}.npy"
    known = _load(path, len(dataset))
    if known is not None:
        return known
    _log.info("%s: counting the classes of %d images, once", dataset.root, len(dataset))
    counts = _count(dataset, workers)
    _save(path, counts)
    return counts


def _count(dataset: ImageTree, workers: int | None) -> Int64[np.ndarray, "images 8"]:
    count = functools.partial(_count_image, dataset)
    few = min(_FIRST, len(dataset))
    started = time.monotonic()
    first = [count(index) for index in range(few)]
    expected = (time.monotonic() - started) * (len(dataset) / few - 1)
    if expected <= _PATIENCE:
        return np.stack([*first, *(count(index) for index in range(few, len(dataset)))])
    everything = in_order(count, len(dataset), workers=workers)
    bar = tqdm(everything, total=len(dataset), desc="counting classes", unit="image")
    return np.stack(list(bar))


def _count_image(dataset: ImageTree, index: int) -> Int64[np.ndarray, " 8"]:
    return np.bincount(dataset.read_instances(index).labels, minlength=NUM_THINGS).astype(np.int64)


def _load(path: Path, images: int) -> Int64[np.ndarray, "images 8"] | None:
    try:
        counts = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = counts.shape == (images, NUM_THINGS) and counts.dtype == np.int64
    return counts if fits else None


def _save(path: Path, counts: Int64[np.ndarray, "images 8"]) -> None:
    """Keep the counts, whole or not at all; a cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            np.save(temporary, counts)
    except OSError as error:
        _log.info("class counts are not remembered: %s", error)
