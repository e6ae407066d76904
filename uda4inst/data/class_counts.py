"""How many instances of each class every image shows, remembered between runs.

Reading all label maps of a large set takes minutes, once: the counts are kept in the user's cache
for as long as the label files' sizes and times of change stay what they were.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from uda4inst.classes import NUM_THINGS
from uda4inst.data.index import cache_folder
from uda4inst.data.tree import ImageTree

_log = logging.getLogger(__name__)

_PART: Final = 64  # images a process reads at a time
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
    path = cache_folder() / "class_counts" / f"{_fingerprint(dataset)}.npy"
    known = _load(path, len(dataset))
    if known is not None:
        return known
    _log.info("%s: counting the classes of %d images, once", dataset.root, len(dataset))
    counts = _count(dataset, workers if workers is not None else os.cpu_count() or 1)
    _save(path, counts)
    return counts


def _count(dataset: ImageTree, workers: int) -> Int64[np.ndarray, "images 8"]:
    parts = [range(a, min(a + _PART, len(dataset))) for a in range(0, len(dataset), _PART)]
    started = time.monotonic()
    first = _count_part(dataset, parts[0])
    expected = (time.monotonic() - started) * (len(parts) - 1)
    long = expected > _PATIENCE
    show: Callable[..., tqdm[Sequence[int]]] = tqdm
    rest = show(parts[1:], desc="counting classes", unit="part", disable=not long)
    if workers < 2 or not long:
        return np.concatenate([first, *(_count_part(dataset, part) for part in rest)])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(_count_part, dataset, part) for part in parts[1:]]
        return np.concatenate([first, *(futures[n].result() for n, _ in enumerate(rest))])


def _count_part(dataset: ImageTree, part: Sequence[int]) -> Int64[np.ndarray, "images 8"]:
    return np.stack(
        [np.bincount(dataset.read_labels(i).labels, minlength=NUM_THINGS) for i in part]
    ).astype(np.int64)


def _fingerprint(dataset: ImageTree) -> str:
    """Return what changes with the label files, and with how they are read."""
    digest = hashlib.sha256(repr((dataset.name, dataset.split, dataset.options)).encode())
    for record in dataset.records:
        for path in record.labels:
            facts = path.stat()
            digest.update(os.fsencode(path))
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]


def _load(path: Path, images: int) -> Int64[np.ndarray, "images 8"] | None:
    try:
        counts = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = counts.shape == (images, NUM_THINGS) and counts.dtype == np.int64
    return counts if fits else None


def _save(path: Path, counts: Int64[np.ndarray, "images 8"]) -> None:
    """Keep the counts, whole or not at all; a cache that cannot be written is no error."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(temporary, counts)
        temporary.replace(path)
    except OSError as error:
        _log.info("class counts are not remembered: %s", error)
