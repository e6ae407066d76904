"""Masks cut to their boxes, as FiftyOne keeps them; it is not needed for it, nor imported here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32
from scipy.ndimage import find_objects

from uda4inst.structures import IGNORE_ID, Size


@dataclass(frozen=True, slots=True, eq=False)
class CutMask:
    """The pixels of one object within its box.

    Args:
        left: first column of the box, in pixels of the image.
        top: first row of it.
        mask: True on the object; (0, 0) for an object without pixels.
    """

    left: int
    top: int
    mask: Bool[np.ndarray, "h w"]

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return int(np.count_nonzero(self.mask))

    def whole(self, size: Size) -> Bool[np.ndarray, "H W"]:
        """Return the mask at the size of its image.

        Example:
            >>> CutMask(1, 0, np.array([[True]])).whole((1, 2)).tolist()
            [[False, True]]
        """
        full = np.zeros(size, dtype=bool)
        height, width = self.mask.shape
        full[self.top : self.top + height, self.left : self.left + width] = self.mask
        return full


def cut(mask: Bool[np.ndarray, "H W"]) -> CutMask:
    """Return a mask cut to its box.

    Example:
        >>> found = cut(np.array([[False, False], [False, True]]))
        >>> found.left, found.top, found.mask.tolist()
        (1, 1, [[True]])
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return CutMask(0, 0, np.zeros((0, 0), dtype=bool))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return CutMask(left, top, mask[top:bottom, left:right].copy())


def cut_instances(ids: Int32[np.ndarray, "H W"], count: int) -> list[CutMask]:
    """Return the mask of each instance of a map, in order; one without pixels has an empty mask.

    Args:
        ids: as in `InstanceMap`.
        count: how many instances the map has.

    Example:
        >>> [m.area for m in cut_instances(np.array([[2, 2, -1]], np.int32), 2)]
        [0, 2]
    """
    empty = CutMask(0, 0, np.zeros((0, 0), dtype=bool))
    if not count or not ids.size:
        return [empty] * count
    boxes = find_objects(np.maximum(ids, 0), max_label=count)
    return [
        empty if box is None else CutMask(box[1].start, box[0].start, ids[box] == number)
        for number, box in enumerate(boxes, start=1)
    ]


def cut_ignored(ids: Int32[np.ndarray, "H W"]) -> CutMask:
    """Return the ignored pixels of a map as one mask, empty where there are none."""
    return cut(ids == IGNORE_ID)
