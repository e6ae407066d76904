"""Logged values over steps, only as fine as a plot can show."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import THING_NAMES
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.metrics import MetricsReader, flat_numbers
from workbench.stores.groups import check_name
from workbench.stores.recent import Recent

PLOT_POINTS: Final = 150
_SCALARS: Final = ("loss", "lr", "grad_norm", "images_per_second", "memory_mib", "pool")
_COUNT_COLUMNS: Final = tuple((name, f"pseudo_labels/{name}") for name in THING_NAMES)
_EIGHT: Final = frozenset(THING_NAMES)
Floats = NDArray[np.float64]


class _ColumnNames(dict[str, str]):
    """Names of loss columns, each put together once."""

    def __missing__(self, name: str) -> str:
        return self.setdefault(name, f"losses/{name}")


_LOSS_COLUMNS: Final = _ColumnNames()


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Logged values over steps, thinned for a plot.

    Args:
        step: middle step of every point.
        mean: value name -> mean of the point's steps; NaN where nothing was logged.
        low: value name -> smallest value of the point's steps.
        high: value name -> largest value.
        last: the newest line's numbers by slash-joined name, its step among them.
        stage2_step: first step of stage 2, or None.
        count: number of logged steps.
    """

    step: Floats
    mean: Mapping[str, Floats]
    low: Mapping[str, Floats]
    high: Mapping[str, Floats]
    last: Mapping[str, float] = field(default_factory=dict[str, float])
    stage2_step: int | None = None
    count: int = 0

    def names(self, group: str) -> list[str]:
        """Return the value names of a group, e.g. "losses" -> ["losses/s2t/class", ...]."""
        return [name for name in self.mean if name.startswith(group + "/")]


EMPTY = Series(step=np.zeros(0), mean={}, low={}, high={})


class SeriesReader:
    """Follows the metrics of one run; what has not changed is not read again."""

    def __init__(self, path: Path) -> None:
        self._reader = MetricsReader(path)
        self._lock = threading.Lock()
        self._thinned: tuple[int, Series] | None = None
        self._forget()

    def series(self, *, points: int = PLOT_POINTS) -> Series:
        """Return everything logged so far in at most `points` points."""
        with self._lock:
            new = self._reader.read_new()
            if new.anew:
                self._forget()
            for step, line in new.lines:
                self._take(step, line)
                self._thinned = None
            if not self._steps:
                return EMPTY
            if self._thinned is None or self._thinned[0] != points:
                self._thinned = (points, self._thin(points))
            return self._thinned[1]

    def _forget(self) -> None:
        self._steps: list[int] = []
        self._columns: dict[str, list[float]] = {}
        self._stage2_step: int | None = None
        self._last: Mapping[str, object] = {}
        self._thinned = None

    def _take(self, step: int, line: Mapping[str, object]) -> None:
        if self._steps and step <= self._steps[-1]:
            self._drop_from(step)
        index = len(self._steps)
        self._steps.append(step)
        if self._stage2_step is None and line.get("stage") == 2:
            self._stage2_step = step
        for name in _SCALARS:
            self._put(name, index, line.get(name))
        if isinstance(losses := line.get("losses"), dict):
            for name, value in losses.items():
                self._put(_LOSS_COLUMNS[name], index, value)
        if isinstance(counts := line.get("pseudo_labels"), dict):
            # A class that is not named had none.
            for name, column in _COUNT_COLUMNS:
                self._put(column, index, counts.get(name, 0))
            for name in counts.keys() - _EIGHT:
                self._put(f"pseudo_labels/{name}", index, counts[name])
        self._last = line

    def _put(self, name: str, index: int, value: object) -> None:
        # Ten thousand lines of twenty values each come through here before a page first shows.
        if type(value) is float or type(value) is int:
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = []
            if len(column) < index:
                column.extend([np.nan] * (index - len(column)))
            column.append(value)

    def _drop_from(self, step: int) -> None:
        """Forget the steps that a resumed run repeats."""
        keep = int(np.searchsorted(np.asarray(self._steps), step))
        del self._steps[keep:]
        for column in self._columns.values():
            del column[keep:]
        if self._stage2_step is not None and step <= self._stage2_step:
            self._stage2_step = None

    def _thin(self, points: int) -> Series:
        steps = np.asarray(self._steps, dtype=np.float64)
        count = len(steps)
        edges = np.unique(np.linspace(0, count, min(points, count) + 1).astype(np.int64)[:-1])
        sizes = np.diff(np.append(edges, count))
        mean: dict[str, Floats] = {}
        low: dict[str, Floats] = {}
        high: dict[str, Floats] = {}
        for name, column in self._columns.items():
            values = np.full(count, np.nan)
            values[: len(column)] = column
            mean[name], low[name], high[name] = _bin(values, edges)
        return Series(
            step=np.add.reduceat(steps, edges) / sizes,
            mean=mean,
            low=low,
            high=high,
            last={"step": self._steps[-1], **flat_numbers(self._last)},
            stage2_step=self._stage2_step,
            count=count,
        )


class MetricsStore:
    """One reader per run, the few that were looked at last."""

    def __init__(self, root: Path, *, kept: int = 4) -> None:
        self._root = root
        self._readers: Recent[str, SeriesReader] = Recent(kept)
        # By the very series it was drawn of: a new line makes another.
        self._drawn: Recent[tuple[Series, Hashable], str] = Recent(kept)

    def series(self, run: str) -> Series:
        """Return the thinned metrics of a run; empty before the first line."""
        path = RunDir(self._root / check_name(run)).metrics
        return self._readers.get(run, lambda: SeriesReader(path)).series()

    def drawn(self, series: Series, look: Hashable, draw: Callable[[], str]) -> str:
        """Return what is drawn of a series: once for all browsers, until a line comes.

        Args:
            series: of `series`.
            look: whatever else the drawing depends on.
            draw: makes it.
        """
        return self._drawn.get((series, look), draw)


def _bin(values: Floats, edges: NDArray[np.int64]) -> Sequence[Floats]:
    """Return mean, smallest and largest value of every bin; NaN for bins without values."""
    known = ~np.isnan(values)
    counts = np.add.reduceat(known.astype(np.float64), edges)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges)
    mean = np.divide(sums, counts, out=np.full(len(edges), np.nan), where=counts > 0)
    low = np.minimum.reduceat(np.where(known, values, np.inf), edges)
    high = np.maximum.reduceat(np.where(known, values, -np.inf), edges)
    return mean, np.where(counts > 0, low, np.nan), np.where(counts > 0, high, np.nan)
