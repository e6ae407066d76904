"""Label maps as runs of equal pixels: a hundred times fewer values to look up than pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer, Shaped


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """A map cut into runs of equal values in reading order.

    Args:
        present: the values that occur, ascending.
        counts: how many pixels have each of them.
        value_of_run: index into `present` of every run.
        lengths: pixels of every run.
        size: (height, width) of the map.
    """

    present: Integer[np.ndarray, " V"]
    counts: Int64[np.ndarray, " V"]
    value_of_run: Int64[np.ndarray, " R"]
    lengths: Int64[np.ndarray, " R"]
    size: tuple[int, int]

    @classmethod
    def of(cls, values: Integer[np.ndarray, "H W"]) -> RunLengths:
        """Cut a map into runs."""
        flat = values.reshape(-1)
        starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
        lengths = np.diff(starts, append=flat.size)
        present, value_of_run = np.unique(flat[starts], return_inverse=True)
        counts = np.bincount(value_of_run, weights=lengths, minlength=len(present))
        return cls(
            present,
            counts.astype(np.int64),
            value_of_run,
            lengths,
            (len(values), flat.size // len(values)),
        )

    def paint(self, new_values: Shaped[np.ndarray, " V"]) -> Shaped[np.ndarray, "H W"]:
        """Return the map with `present[i]` replaced by `new_values[i]`."""
        return np.repeat(new_values[self.value_of_run], self.lengths).reshape(self.size)
