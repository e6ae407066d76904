"""The statistics of a data set as a table and as a picture."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from uda4inst.atomic import whole_file
from uda4inst.classes import NUM_THINGS, THING_CLASSES
from uda4inst.colors import CLASS_COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

    from uda4inst.data.reports.statistics import ClassStatistics, DatasetStatistics

# Short, so that the table fits a terminal of 80 columns.
_COLUMNS: Final = ("instances", "share", "images", "10 %", "50 %", "90 %", "hidden")
_WIDTH: Final = 100  # columns of a table as plain text
_DPI: Final = 120
_ROW: Final = 0.8  # height of a class's row, as of the bars


def table_text(statistics: DatasetStatistics) -> str:
    """Return the table as plain text."""
    from rich.console import Console

    page = io.StringIO()
    Console(file=page, width=_WIDTH, color_system=None).print(table_of(statistics))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def table_of(statistics: DatasetStatistics) -> Table:
    """Return the table, for a terminal."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{statistics.name} {statistics.split}: {statistics.instances:,} instances in "
        f"{statistics.images:,} images, {statistics.images_without_instances:,} of them without",
        title_justify="left",
        box=box.SIMPLE,
        caption=_caption(statistics),
        caption_justify="left",
    )
    table.add_column("class", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    rare = set(statistics.rare_classes().values())
    for entry in statistics.classes:
        table.add_row(*_cells(entry, is_rare=entry.name in rare))
    return table


def _cells(entry: ClassStatistics, *, is_rare: bool) -> list[str]:
    if not entry.can_occur:
        return [entry.name, *("-" for _ in _COLUMNS)]
    areas = ["" if math.isnan(area) else f"{area:,.0f}" for area in entry.area_quantiles]
    hidden = "" if entry.occlusion_mean is None else f"{100 * entry.occlusion_mean:.0f} %"
    name = f"{entry.name} *" if is_rare else entry.name
    share = f"{100 * entry.share:.2f} %"
    return [name, f"{entry.instances:,}", share, f"{entry.images:,}", *areas, hidden]


def _caption(statistics: DatasetStatistics) -> str:
    lines = [
        f"* rare class of {group}: {name}" for group, name in statistics.rare_classes().items()
    ]
    if any(not entry.can_occur for entry in statistics.classes):
        lines.append("- the format has no such class")
    lines.append("10, 50, 90 %: visible pixels below which so many of the instances lie")
    lines.append("hidden: mean hidden share of the objects of which it is known")
    return "\n".join(lines)


def plot_statistics(statistics: DatasetStatistics, path: Path) -> Path:
    """Draw class shares, rare classes marked, and the distribution of areas; return the path.

    Args:
        statistics: what to draw.
        path: of the picture; its suffix says which kind (.png, .pdf, .svg).

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    shares, areas = figure.subplots(1, 2, sharey=True)
    _draw_shares(shares, statistics)
    _draw_areas(areas, statistics)
    figure.suptitle(
        f"{statistics.name} {statistics.split}: {statistics.instances:,} instances in "
        f"{statistics.images:,} images"
    )
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)
    return path


def _draw_shares(axes: Axes, statistics: DatasetStatistics) -> None:
    """Draw a bar for each class, on a logarithmic scale: rare classes are far below the others."""
    rare = {name: group for group, name in statistics.rare_classes().items()}
    percent = [100 * entry.share for entry in statistics.classes]
    names = [entry.name for entry in statistics.classes]
    axes.set_xscale("log")
    axes.set_xlim(_floor(percent), 1000)  # room for the text of a bar of 100 %
    bars = axes.barh(names, percent, color=_colors()[: len(names)])
    for bar, entry in zip(bars, statistics.classes, strict=True):
        if entry.name in rare:
            bar.set_edgecolor("black")
            bar.set_linewidth(2)
            bar.set_hatch("///")
        where = max(100 * entry.share, _floor(percent))
        axes.text(where, bar.get_y() + bar.get_height() / 2, _bar_text(entry, rare), va="center")
    axes.set_xticks([10.0**k for k in range(round(math.log10(_floor(percent))), 3)])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("share of instances (%)")
    axes.spines[["top", "right"]].set_visible(False)


def _bar_text(entry: ClassStatistics, rare: dict[str, str]) -> str:
    if not entry.can_occur:
        return " not in this format"
    if not entry.instances:
        return " none"
    group = f", rare of {rare[entry.name]}" if entry.name in rare else ""
    return f" {100 * entry.share:.2f} %{group}"


def _floor(percent: list[float]) -> float:
    """Return where the bars begin: a decade below the shortest."""
    return 10 ** (math.floor(math.log10(min((p for p in percent if p > 0), default=1))) - 1)


def _draw_areas(axes: Axes, statistics: DatasetStatistics) -> None:
    """Draw in each class's row which part of its instances has which area."""
    occupied: list[int] = []
    for row, (entry, color) in enumerate(zip(statistics.classes, _colors(), strict=False)):
        counts = np.array(entry.area_histogram)
        if not counts.any():
            continue
        occupied += np.flatnonzero(counts).tolist()
        edges = 2.0 ** np.arange(len(counts) + 1)
        heights = _ROW * counts / counts.max()
        axes.stairs(
            row + _ROW / 2 - heights, edges, baseline=row + _ROW / 2, fill=True, color=color
        )
        median = entry.area_quantiles[1]
        axes.plot([median, median], [row - _ROW / 2, row + _ROW / 2], color="orange", linewidth=2)
    axes.set_xscale("log", base=2)
    if occupied:
        axes.set_xlim(2.0 ** min(occupied), 2.0 ** (max(occupied) + 1))
    axes.set_xlabel("area of an instance (visible pixels, by octave; line: median)")
    axes.spines[["top", "right"]].set_visible(False)


def _colors() -> list[tuple[float, float, float]]:
    """Return the classes' own colours, as matplotlib takes them."""
    return [
        (red / 255, green / 255, blue / 255)
        for red, green, blue in (*(c.color for c in THING_CLASSES), *CLASS_COLORS[NUM_THINGS:])
    ]
