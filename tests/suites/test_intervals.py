"""Intervals cover what they should, and compare rows on the same images and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from uda4inst.suites.definition import Cell
from uda4inst.suites.intervals import Scored, difference, share, shared_cells

RESAMPLES = 400
CELLS = [Cell(scenes, seed) for scenes in (1, 2, 3) for seed in range(5)]


def images_of(cell: Cell) -> tuple[str, ...]:
    return f"{cell.scenes}a", f"{cell.scenes}b"


def row(values: dict[Cell, float], spread: float = 0.0, *, noise: int = 0) -> Scored:
    """Return a row whose cells vary over resamples by `spread`, the same for one `noise`."""
    rng = np.random.default_rng(noise)
    resamples = {
        cell: value + spread * rng.standard_normal(RESAMPLES) for cell, value in values.items()
    }
    return Scored(values, resamples, {cell: images_of(cell) for cell in values})


def test_difference__of_paired_rows_leaves_out_what_they_share() -> None:
    rng = np.random.default_rng(1)
    base = {cell: 20 + 3 * rng.standard_normal() for cell in CELLS}
    mine, theirs = (row({c: v + up for c, v in base.items()}, spread=2.0) for up in (0.5, 0.0))
    found = difference(mine, theirs)
    assert found is not None
    # Seeds and images move both rows alike, so nothing is left to doubt.
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.sign == 1
    assert (found.scene_sets, found.seeds) == (3, 5)
    back = difference(theirs, mine)
    assert back is not None
    assert back.sign == -1
    apart = difference(row(base, spread=2.0), row(base, spread=2.0, noise=1))
    assert apart is not None
    assert apart.high - apart.low > 1
    assert apart.sign == 0


@pytest.mark.parametrize("of_images", [False, True], ids=["seeds", "images"])
def test_difference__covers_the_truth_as_often_as_it_says(of_images: bool) -> None:
    """Rows differ by 1; seeds or images make the difference of a cell vary by 1."""
    rng = np.random.default_rng(2)
    covered, trials, halves = 0, 300, []
    for trial in range(trials):
        if of_images:
            # One error of the image sample, and resamples that vary around it by as much.
            values = {cell: 1 + rng.standard_normal() for cell in CELLS[::5]}
            mine = row(values, spread=1.0, noise=trial)
        else:
            values = {cell: 1 + rng.standard_normal() for cell in CELLS}
            mine = row(values)
        found = difference(mine, row(dict.fromkeys(values, 0.0), noise=trial))
        assert found is not None
        covered += found.low <= 1 <= found.high
        halves.append((found.high - found.low) / 2)
    expected = 1.96 / np.sqrt(3 if of_images else 15)
    assert np.mean(halves) == pytest.approx(expected, rel=0.12)
    assert 0.90 <= covered / trials <= 0.98


def test_difference__counts_cells_judged_on_the_same_images() -> None:
    values = {cell: 1.0 for cell in CELLS}
    mine, theirs = row(values), row(values)
    other = Scored(theirs.values, theirs.resamples, {c: (f"{c.scenes}", "x") for c in CELLS})
    assert difference(mine, other) is None
    one = row(values)
    one = Scored(one.values, one.resamples, {cell: (f"{cell.scenes}a",) for cell in CELLS})
    assert shared_cells(one, one) == ()  # every resample of one image is the same
    some = row({cell: 2.0 for cell in CELLS[:4]})
    assert shared_cells(mine, some) == tuple(CELLS[:4])
    found = difference(some, mine)
    assert found is not None
    assert (found.value, found.scene_sets, found.seeds) == (1.0, 1, 4)


def test_share__of_the_gap_between_two_rows() -> None:
    low, high = (row(dict.fromkeys(CELLS, value)) for value in (10.0, 20.0))
    mine = row(dict.fromkeys(CELLS, 16.0), spread=1.0)
    found = share(mine, low, high)
    assert found is not None
    assert found.value == pytest.approx(60)
    assert 50 < found.low < 60 < found.high < 70
    assert share(mine, high, low) is None
