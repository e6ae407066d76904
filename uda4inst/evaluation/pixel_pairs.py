"""Counting pairs of values over the pixels of two maps: what every confusion matrix is made of."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_VALUES: Final = 256
_EXACT: Final = 2**24  # pixels; OpenCV counts in integers and answers in float32


def count_pairs(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many pixels have each pair of values, (256, 256) by (first, second).

    OpenCV's histogram counts an image of 1024x2048 in a third of the time that indices for
    `np.bincount` take (`benchmarks/semantic_scores.py`).

    Args:
        first: (H, W).
        second: of the same size.
    """
    counts = np.zeros((_VALUES, _VALUES), dtype=np.int64)
    if not first.size:
        return counts
    rows = max(1, _EXACT // first.shape[1])
    for top in range(0, len(first), rows):
        parts = [np.ascontiguousarray(ids[top : top + rows]) for ids in (first, second)]
        found = cv2.calcHist(parts, [0, 1], None, [_VALUES] * 2, [0, _VALUES] * 2)
        counts += found.astype(np.int64)
    return counts
