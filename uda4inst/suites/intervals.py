"""How far rows of a table are apart, with what other images and other seeds could change.

Bootstrap: scene sets stay, as strata. For every resample each set's seeds are drawn with
replacement, one fewer than there are (else the variance would be too small by that one; Rao and Wu,
1988), and its images are drawn as `evaluation.resampling` says, the same for all rows. So rows are
compared on the same images and the same seeds: differences are paired. With one seed a set the
interval is about the images alone.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.evaluation.resampling import Resampled
from uda4inst.suites.definition import Cell

LEVEL: Final = 95  # per cent
LEAST_IMAGES: Final = 2  # of one image every resample is the same, and an interval has no width
_SEED: Final = 7117

ByResample = NDArray[np.float64]  # (resamples,)


@dataclass(frozen=True, slots=True)
class Interval:
    """A number, in per cent, with its 95 % interval.

    Args:
        value: of all images and seeds.
        low: lower end.
        high: upper end.
        scene_sets: how many.
        seeds: of every scene set, at the least.
        n: pairs of scene set and seed.
    """

    value: float
    low: float
    high: float
    scene_sets: int
    seeds: int
    n: int

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below zero, else 0."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One number of a row: in every cell, and on every resample of the cell's images.

    Args:
        values: in per cent.
        resamples: in per cent, (resamples,) a cell.
        images: names of the judged images.
    """

    values: Mapping[Cell, float]
    resamples: Mapping[Cell, ByResample]
    images: Mapping[Cell, tuple[str, ...]]

    def within(self, cells: Container[Cell]) -> Scored:
        """Return it without what other cells are known to have been judged on."""
        return replace(self, images={c: names for c, names in self.images.items() if c in cells})


@dataclass(frozen=True, slots=True)
class ColumnOf:
    """Which of the scores by resample.

    Args:
        measure: index in the task's measures.
        classes: indices of the classes; empty for the score of all.
    """

    measure: int
    classes: tuple[int, ...] = ()

    def of(self, resampled: Resampled) -> ByResample:
        """Return the score on every resample, classes without anything to judge left out."""
        if not self.classes:
            return resampled.overall[:, self.measure].astype(np.float64)
        chosen = resampled.by_class[:, list(self.classes), self.measure].astype(np.float64)
        known = ~np.isnan(chosen)
        with np.errstate(invalid="ignore"):
            return np.where(known, chosen, 0).sum(axis=1) / known.sum(axis=1)


def scored(
    values: Mapping[Cell, float], resampled: Mapping[Cell, Resampled], column: ColumnOf
) -> Scored:
    """Return one number of a row, in the cells that have resamples of it.

    Args:
        values: in per cent, by cell.
        resampled: scores by resample, by cell.
        column: which of the scores.
    """
    cells = [cell for cell in values if cell in resampled]
    return Scored(
        {cell: values[cell] for cell in cells},
        {cell: 100 * column.of(resampled[cell]) for cell in cells},
        {cell: resampled[cell].images for cell in cells},
    )


def difference(row: Scored, other: Scored) -> Interval | None:
    """Return how much higher a row is than another; None without a cell that both have.

    Cells count where both were judged on the same images, two at the least.
    """
    cells = shared_cells(row, other)
    if not cells:
        return None
    mine, theirs = (np.array([part.values[cell] for cell in cells]) for part in (row, other))
    differences = over_cells(row, cells) - over_cells(other, cells)
    return _interval(float((mine - theirs).mean()), differences, cells)


def share(row: Scored, low: Scored, high: Scored) -> Interval | None:
    """Return the share of the gap between two rows that a third closes, in per cent.

    None without a cell that all three have, or where the upper row is not above the lower.
    """
    cells = shared_cells(row, low, high)
    if not cells:
        return None
    own, bottom, top = (
        float(np.mean([part.values[cell] for cell in cells])) for part in (row, low, high)
    )
    if top <= bottom:
        return None
    by_resample = [over_cells(part, cells) for part in (row, low, high)]
    gap = by_resample[2] - by_resample[1]
    # A resample without a gap says nothing about its share.
    drawn = np.divide(
        by_resample[0] - by_resample[1], gap, out=np.full_like(gap, np.nan), where=gap > 0
    )
    return _interval(100 * (own - bottom) / (top - bottom), 100 * drawn, cells)


def shared_cells(first: Scored, *others: Scored) -> tuple[Cell, ...]:
    """Return the cells that all have, judged on the same images, of which two can be drawn anew."""
    return tuple(
        sorted(
            (
                cell
                for cell, images in first.images.items()
                if len(images) >= LEAST_IMAGES
                and all(other.images.get(cell) == images for other in others)
            ),
            key=lambda cell: (cell.scenes or 0, cell.seed),
        )
    )


def over_cells(row: Scored, cells: Sequence[Cell]) -> ByResample:
    """Return the mean over scene sets and drawn seeds on every resample.

    Args:
        row: has resamples of every cell.
        cells: sorted; rows with the same cells are given the same seeds in every resample.
    """
    parts: list[ByResample] = []
    for scenes in dict.fromkeys(cell.scenes for cell in cells):
        found = np.stack([row.resamples[cell] for cell in cells if cell.scenes == scenes])
        count, resamples = found.shape
        rng = np.random.default_rng((_SEED, scenes or 0, count))
        chosen = rng.integers(count, size=(max(count - 1, 1), resamples))
        parts.append(count * np.take_along_axis(found, chosen, axis=0).mean(axis=0))
    return np.sum(parts, axis=0) / len(cells)


def _interval(value: float, drawn: ByResample, cells: Sequence[Cell]) -> Interval:
    tail = (100 - LEVEL) / 2
    low, high = np.nanpercentile(drawn, (tail, 100 - tail))
    sets = [cell.scenes for cell in cells]
    return Interval(
        value,
        float(low),
        float(high),
        scene_sets=len(set(sets)),
        seeds=min(sets.count(one) for one in set(sets)),
        n=len(cells),
    )
