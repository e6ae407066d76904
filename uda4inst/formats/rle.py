"""COCO's compressed run-length code, read as numbers: checked, and without drawing the mask.

pycocotools' own decoder returns uninitialised memory for some malformed codes; files from
elsewhere go through here first.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.ops.masks import Rle

_FIRST_CHARACTER: Final = 48
_MORE: Final = 0x20  # another character of the same number follows
_SIGN: Final = 0x10
_VALUE: Final = 0x1F


def run_lengths(rle: Rle) -> NDArray[np.int64]:
    """Return the lengths of alternating runs, background first, along the columns of the mask.

    Raises:
        ValueError: the text is not a code, or its runs do not fill the size.

    Example:
        >>> run_lengths({"size": [2, 2], "counts": "22"}).tolist()
        [2, 2]
    """
    height, width = rle["size"]
    try:
        codes = np.frombuffer(rle["counts"].encode("ascii"), np.uint8).astype(np.int64)
    except UnicodeEncodeError:
        codes = np.array([-1])
    codes -= _FIRST_CHARACTER
    ends = (codes & _MORE) == 0
    lengths = np.zeros(0, dtype=np.int64)
    if codes.size and codes.min() >= 0 and codes.max() < 2 * _MORE and ends[-1]:
        lengths = _numbers(codes, np.flatnonzero(ends))
        # Every run but the first three is stored as the difference to the one two before it.
        lengths[1::2] = np.cumsum(lengths[1::2])
        lengths[2::2] = np.cumsum(lengths[2::2])
    if not lengths.size or lengths.min() < 0 or lengths.sum() != height * width:
        raise ValueError(
            f"run-length code must fill {height}x{width} pixels, got {rle['counts'][:40]!r}."
        )
    return lengths


def foreground(rle: Rle) -> NDArray[np.int64]:
    """Return the mask's pixels as positions along its columns (column * height + row), ascending.

    Raises:
        ValueError: as `run_lengths`.

    Example:
        >>> foreground({"size": [2, 2], "counts": "22"}).tolist()
        [2, 3]
    """
    lengths = run_lengths(rle)
    starts = np.cumsum(lengths) - lengths
    starts, lengths = starts[1::2], lengths[1::2]
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def _numbers(codes: NDArray[np.int64], ends: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the signed numbers written as groups of five bits, low bits first."""
    first = np.append(0, ends[:-1] + 1)
    place = np.arange(len(codes)) - np.repeat(first, ends - first + 1)
    shift = np.minimum(5 * place, 60)
    numbers = np.add.reduceat((codes & _VALUE) << shift, first)
    negative = (codes[ends] & _SIGN) != 0
    return np.where(negative, numbers - (1 << np.minimum(5 * (ends - first + 1), 60)), numbers)
