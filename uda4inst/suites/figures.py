"""Class-wise bars of both measures, as the paper's Figure 4: its bars light beside ours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from uda4inst.atomic import whole_file
from uda4inst.suites.definition import BENCHMARKS
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import Network, ProtocolName, RowResult, View
from uda4inst.suites.tables import how_judged

# Told apart by people who see colours differently (Okabe and Ito); the bounds keep theirs.
_SOURCE_ONLY_COLOR: Final = "#999999"
_ORACLE_COLOR: Final = "#882255"
_COLORS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#F0E442", "#CC79A7")
_DASHES: Final = ("-", "--", ":", "-.")
_HEADLINE: Final = "student"
_DPI: Final = 110
_MANY_NAMES: Final = 12  # below the bars, above which they are turned to have room
_TITLE_WIDTH: Final = 160  # characters of a line


def write_charts(results: SuiteResults, folder: Path, views: Sequence[View]) -> list[Path]:
    """Write one chart a benchmark, protocol and network that has a number of ours by class.

    The first benchmark's by the first protocol with the student is fig4.png.
    """
    written = []
    benchmarks = list(dict.fromkeys(row.row.benchmark for row in results.rows))
    for protocol, network in views:
        for benchmark in benchmarks:
            rows = [row for row in results.rows if row.row.benchmark == benchmark]
            if not any(
                row.statistic(network, protocol, results.suite.task.measures[0]) for row in rows
            ):
                continue
            is_first = (protocol, network) == (results.protocols[0], _HEADLINE)
            is_headline = is_first and benchmark == benchmarks[0]
            name = "fig4.png" if is_headline else f"fig4-{benchmark}-{protocol}-{network}.png"
            chart = draw_chart(results, rows, protocol, network)
            with whole_file(folder / name) as temporary:
                chart.savefig(temporary, dpi=_DPI)
            written.append(folder / name)
    return written


def draw_chart(
    results: SuiteResults, rows: Sequence[RowResult], protocol: ProtocolName, network: Network
) -> Figure:
    """Return the first measure above the second for some rows of one benchmark."""
    figure = Figure(figsize=(12, 7))
    many = len(rows[0].row.classes) + 1 > _MANY_NAMES
    bottom, between = (0.1, 0.27) if many else (0.05, 0.14)
    figure.subplots_adjust(left=0.06, right=0.99, bottom=bottom, top=0.93, hspace=between)
    top, below = figure.subplots(2, 1)
    for axes, metric in zip((top, below), results.suite.task.measures, strict=True):
        _draw_bars(axes, rows, protocol, network, metric)
    _draw_legend(top)
    where = BENCHMARKS[rows[0].row.benchmark]
    title = (
        f"{results.suite.title}: ours at scale {results.scale.name}, "
        f"{how_judged(results, protocol, network)}"
        + (f"; light and hatched: the paper, {where}" if results.has_paper else f", {where}")
    )
    figure.suptitle(textwrap.fill(title, _TITLE_WIDTH), fontsize=10)
    return figure


def _draw_bars(
    axes: Any, rows: Sequence[RowResult], protocol: ProtocolName, network: Network, metric: str
) -> None:
    """Draw one group of bars a class, two bars a row: the paper's, then ours with its spread."""
    names = [*rows[0].row.classes, None]
    width = 0.84 / (2 * len(rows))
    for index, row in enumerate(rows):
        color = color_of(row, index)
        first = 2 * index * width - 0.42
        paper = [row.paper.value(metric, name) if row.paper else None for name in names]
        places, heights = _known(paper, first)
        axes.bar(places, heights, width, align="edge", color=color, alpha=0.35, hatch="///")
        found = [row.statistic(network, protocol, metric, name) for name in names]
        places, heights = _known([part and part.mean for part in found], first + width)
        axes.bar(places, heights, width, align="edge", color=color, label=row.label_for(network))
        ends = [part.spread for part in found if part is not None]
        middles = [place + width / 2 for place in places]
        axes.vlines(
            middles, [e[0] for e in ends], [e[1] for e in ends], color="#666666", linewidth=1
        )
    many = len(names) > _MANY_NAMES
    turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if many else {}
    axes.set_xticks(range(len(names)), [name or "mean" for name in names], **turned)
    axes.set_ylabel(f"{metric}, per cent")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.margins(y=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_legend(axes: Any) -> None:
    """Name the rows in as many columns, up to four, as there is width for."""
    for columns in (4, 3, 2, 1):
        legend = axes.legend(ncols=columns, fontsize=8, loc="upper left", frameon=False)
        if legend.get_window_extent().width <= axes.get_window_extent().width:
            return


def _known(values: Sequence[float | None], first: float) -> tuple[list[float], list[float]]:
    """Return the places and heights of the bars that there are."""
    known = [(first + i, value) for i, value in enumerate(values) if value is not None]
    return [place for place, _ in known], [value for _, value in known]


def color_of(row: RowResult, index: int) -> str:
    """Return the colour of a row, the index-th of its figure."""
    if row.row.role == "lower_bound":
        return _SOURCE_ONLY_COLOR
    return _ORACLE_COLOR if row.row.role == "upper_bound" else _COLORS[index % len(_COLORS)]


def line_style(results: SuiteResults, index: int) -> dict[str, str]:
    """Return colour and dashes of the line of the index-th row.

    Colours come again after seven rows, and those of bounds with the next source, then with other
    dashes: 28 lines can be told apart.
    """
    row = results.rows[index]
    before = [other.row.role for other in results.rows[:index]]
    is_bound = row.row.role in ("lower_bound", "upper_bound")
    again = before.count(row.row.role) if is_bound else index // len(_COLORS)
    return {"color": color_of(row, index), "linestyle": _DASHES[again % len(_DASHES)]}
