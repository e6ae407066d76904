"""Class-wise AP and AP50 as bars, as the paper's Figure 4: its bars light beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from uda4inst.evaluation.report import PROTOCOL_NAMES
from uda4inst.suites.definition import BENCHMARKS
from uda4inst.suites.paper import METRICS, Metric
from uda4inst.suites.results import Network, Protocol, RowResult, SuiteResults

# Told apart by people who see colours differently (Okabe and Ito); the bounds keep theirs.
_SOURCE_ONLY_COLOR: Final = "#999999"
_ORACLE_COLOR: Final = "#882255"
_COLORS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")
_HEADLINE: Final = ("cityscapes", "student")
_DPI: Final = 110


def write_charts(
    results: SuiteResults, folder: Path, views: Sequence[tuple[Protocol, Network]]
) -> list[Path]:
    """Write one chart a benchmark, protocol and network that has a number of ours by class.

    The first benchmark's by the Cityscapes protocol with the student is fig4.png.
    """
    written = []
    benchmarks = list(dict.fromkeys(row.row.benchmark for row in results.rows))
    for protocol, network in views:
        for benchmark in benchmarks:
            rows = [row for row in results.rows if row.row.benchmark == benchmark]
            if not any(row.statistic(network, protocol, "AP") for row in rows):
                continue
            is_headline = (protocol, network) == _HEADLINE and benchmark == benchmarks[0]
            name = "fig4.png" if is_headline else f"fig4-{benchmark}-{protocol}-{network}.png"
            chart = draw_chart(results, rows, protocol, network)
            chart.savefig(folder / name, dpi=_DPI)
            written.append(folder / name)
    return written


def draw_chart(
    results: SuiteResults, rows: Sequence[RowResult], protocol: Protocol, network: Network
) -> Figure:
    """Return AP above AP50 for some rows of one benchmark."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    top, bottom = figure.subplots(2, 1)
    for axes, metric in zip((top, bottom), METRICS, strict=True):
        _draw_bars(axes, rows, protocol, network, metric)
    top.legend(ncols=min(4, len(rows)), fontsize=8, loc="upper left", frameon=False)
    where = BENCHMARKS[rows[0].row.benchmark]
    figure.suptitle(
        f"{results.suite.title}: ours at scale {results.scale.name}, "
        f"{PROTOCOL_NAMES[protocol]} protocol, {network}; light and hatched: the paper, {where}",
        fontsize=10,
    )
    return figure


def _draw_bars(
    axes: Any, rows: Sequence[RowResult], protocol: Protocol, network: Network, metric: Metric
) -> None:
    """Draw one group of bars a class, two bars a row: the paper's, then ours with its spread."""
    names = [*rows[0].row.classes, None]
    width = 0.84 / (2 * len(rows))
    for index, row in enumerate(rows):
        color = _color(row, index)
        for place, name in enumerate(names):
            left = place - 0.42 + 2 * index * width
            paper = row.paper.value(metric, name) if row.paper else None
            if paper is not None:
                axes.bar(left, paper, width, align="edge", color=color, alpha=0.35, hatch="///")
            found = row.statistic(network, protocol, metric, name)
            if found is not None:
                middle = left + 1.5 * width
                axes.bar(left + width, found.mean, width, align="edge", color=color)
                axes.vlines(middle, *found.spread, color="#666666", linewidth=1)
        axes.bar(0, 0, width, color=color, label=row.label)
    axes.set_xticks(range(len(names)), [name or "mean" for name in names])
    axes.set_ylabel(f"{metric}, per cent")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.margins(y=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _color(row: RowResult, index: int) -> str:
    if row.row.role == "source_only":
        return _SOURCE_ONLY_COLOR
    return _ORACLE_COLOR if row.row.role == "oracle" else _COLORS[index % len(_COLORS)]
