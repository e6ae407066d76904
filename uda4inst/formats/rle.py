"""COCO's run-length code of a mask: written, read, and made of what files hold in its place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypedDict, cast

import numpy as np
import pycocotools.mask as coco_mask
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from uda4inst.pictures import MAX_PIXELS
from uda4inst.structures import Size

_FIRST_CHARACTER: Final = 48
_MORE: Final = 0x20  # another character of the same number follows
_SIGN: Final = 0x10
_VALUE: Final = 0x1F


class Rle(TypedDict):
    """COCO's compressed run-length code, with text that JSON can hold."""

    size: list[int]
    counts: str


def rle_encode(mask: Bool[Tensor, "H W"] | NDArray[np.bool_]) -> Rle:
    """Return the COCO run-length code of one mask.

    Example:
        >>> rle_encode(np.array([[False, True], [False, True]]))
        {'size': [2, 2], 'counts': '22'}
    """
    array = np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask)
    return _text_of(cast(Any, coco_mask).encode(np.asfortranarray(array, dtype=np.uint8)))


def rle_of_lengths(lengths: Sequence[int] | NDArray[np.uint32], size: Size) -> Rle:
    """Return the run-length code of a mask from its runs, as `run_lengths` returns them.

    Args:
        lengths: of alternating runs, background first; they fill the mask.
        size: (height, width) of the mask.

    Example:
        >>> rle_of_lengths([2, 2], (2, 2))
        {'size': [2, 2], 'counts': '22'}
    """
    code = {"size": list(size), "counts": lengths}
    return _text_of(cast(Any, coco_mask).frPyObjects(code, *size))


def rle_decode(rle: Rle) -> NDArray[np.bool_]:
    """Return the boolean mask of a run-length code.

    Raises:
        ValueError: as `run_lengths`.

    Example:
        >>> rle_decode({"size": [2, 2], "counts": "22"}).tolist()
        [[False, True], [False, True]]
    """
    runs = run_lengths(rle)
    height, width = rle["size"]
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def run_lengths(rle: Rle) -> NDArray[np.int64]:
    """Return the lengths of alternating runs, background first, along the columns of the mask.

    Not by pycocotools, which returns uninitialised memory for some codes it cannot use.

    Raises:
        ValueError: `size` is not (height, width), or the counts are no code that fills it.

    Example:
        >>> run_lengths({"size": [2, 2], "counts": "22"}).tolist()
        [2, 2]
    """
    size, counts = rle["size"], rle["counts"]
    if len(size) != 2 or not all(type(n) is int and 0 <= n <= MAX_PIXELS for n in size):
        raise ValueError(f"run-length code must have the size [height, width], got {size!r:.80}.")
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"run-length code must be of at most {MAX_PIXELS:,} pixels, got {size}.")
    return _read_runs(counts, size[0] * size[1], f"{size[0]}x{size[1]}").copy()


@lru_cache(maxsize=512)  # an image's masks, which every protocol reads
def _read_runs(counts: str, pixels: int, size: str) -> NDArray[np.int64]:
    """Return the runs of a code that must fill so many pixels."""
    codes = np.frombuffer(counts.encode("ascii", errors="replace"), np.uint8).astype(np.int64)
    codes -= _FIRST_CHARACTER
    ends = (codes & _MORE) == 0
    lengths = np.zeros(0, dtype=np.int64)
    if codes.size and codes.min() >= 0 and codes.max() < 2 * _MORE and ends[-1]:
        lengths = _numbers(codes, np.flatnonzero(ends))
        # Every run but the first three is stored as the difference to the one two before it.
        lengths[1::2] = np.cumsum(lengths[1::2])
        lengths[2::2] = np.cumsum(lengths[2::2])
    # None longer than all together, whose sum could run over.
    if not (lengths.size and 0 <= lengths.min() <= lengths.max() <= pixels == lengths.sum()):
        raise ValueError(f"run-length code must fill {size} pixels, got {counts[:40]!r}.")
    return lengths


def overlaps(first: Sequence[Rle], second: Sequence[Rle]) -> NDArray[np.float64]:
    """Return the IoU of every mask of one list with every mask of another, (first, second).

    Empty masks overlap with nothing. The codes must be whole, as those made here are.

    Example:
        >>> half, whole = ({"size": [2, 2], "counts": counts} for counts in ("22", "04"))
        >>> overlaps([half], [whole]).tolist()
        [[0.5]]
    """
    if not first or not second:
        return np.zeros((len(first), len(second)))
    found = cast(Any, coco_mask).iou(list(first), list(second), [False] * len(second))
    return np.asarray(found, dtype=np.float64).reshape(len(first), len(second))


def foreground(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a mask's pixels as positions along its columns (column * height + row), ascending.

    Args:
        lengths: its runs, as `run_lengths` returns them.

    Example:
        >>> foreground(np.array([1, 2, 1])).tolist()
        [1, 2]
    """
    starts = np.cumsum(lengths) - lengths
    starts, lengths = starts[1::2], lengths[1::2]
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def as_rle(segmentation: object, size: Size) -> Rle:
    """Return the compressed code of any of the three forms in which COCO files hold a mask.

    Args:
        segmentation: polygons, a run-length code, or one whose counts are a list, as JSON has them.
        size: (height, width) of the image.

    Raises:
        ValueError: it is none of them, of another size, or leaves the image.
    """
    height, width = size
    coder = cast(Any, coco_mask)
    if isinstance(segmentation, list):
        if not segmentation or not all(_is_polygon(part, size) for part in segmentation):
            raise ValueError(
                "polygons must be lists of at least 3 points [x1, y1, x2, y2, ...] within or near "
                "the image"
            )
        return _text_of(coder.merge(coder.frPyObjects(segmentation, height, width)))
    if not isinstance(segmentation, dict) or {"size", "counts"} - segmentation.keys():
        raise ValueError(
            "segmentation must be a run-length code {size, counts} or polygons, got "
            f"{type(segmentation).__name__}"
        )
    counts = segmentation["counts"]
    if segmentation["size"] != [height, width]:
        raise ValueError(
            f"segmentation size must be the image's [{height}, {width}], got {segmentation['size']}"
        )
    if isinstance(counts, str):
        rle = Rle(size=[height, width], counts=counts)
        run_lengths(rle)
        return rle
    if not isinstance(counts, list) or not all(type(c) is int and c >= 0 for c in counts):
        raise ValueError("counts must be text, or a list of run lengths")
    if sum(counts) != height * width:
        raise ValueError(f"counts must fill {height}x{width} pixels, got {sum(counts)}")
    return rle_of_lengths(counts, size)


def _text_of(code: dict[str, Any]) -> Rle:
    """Return pycocotools' code with text in place of its bytes."""
    return Rle(size=[int(v) for v in code["size"]], counts=code["counts"].decode("ascii"))


def _is_polygon(part: object, size: Size) -> bool:
    """Whether a value can be drawn; pycocotools takes memory by the length of a polygon's sides."""
    reach = 2 * max(size)
    return (
        isinstance(part, list)
        and len(part) >= 6
        and len(part) % 2 == 0
        and all(isinstance(v, int | float) and -reach <= v <= reach for v in part)
    )


def _numbers(codes: NDArray[np.int64], ends: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the signed numbers written as groups of five bits, low bits first."""
    first = np.append(0, ends[:-1] + 1)
    place = np.arange(len(codes)) - np.repeat(first, ends - first + 1)
    shift = np.minimum(5 * place, 60)
    numbers = np.add.reduceat((codes & _VALUE) << shift, first)
    negative = (codes[ends] & _SIGN) != 0
    return np.where(negative, numbers - (1 << np.minimum(5 * (ends - first + 1), 60)), numbers)
