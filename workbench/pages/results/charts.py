"""Fig. 4 as SVG: numbers by class, the paper's bars hollow beside ours; and the sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Final

import numpy as np

from uda4inst.suites.definition import BENCHMARKS, classes_of
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import RowResult, Statistic, View
from workbench.ui import plots
from workbench.ui.markup import section
from workbench.ui.palette import LINE_COLORS, class_css, semantic_css
from workbench.ui.plots import Chart, Line

WIDTH: Final = 1360
HEIGHT: Final = 264
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 6, 12, 38
_WIDEST_BAR: Final = 20.0
_PAIR_GAP: Final = 3.0
_GROUP_SHARE: Final = 0.86
_LETTER: Final = 6.1
_ALL: Final = "all"
# The two ends of the gap keep their colours in every chart.
_SOURCE_ONLY_COLOR: Final = "#94a3b8"
_ORACLE_COLOR: Final = "#a855f7"
_ROW_COLORS: Final = (
    *(color for color in LINE_COLORS if color != _ORACLE_COLOR),
    # Darker ones: no two rows of a suite look alike.
    *("#0e7490", "#b45309", "#be185d", "#4d7c0f", "#1d4ed8", "#991b1b"),
)
_ColorOf = Callable[[str], str | None]
_THRESHOLD: Final = "method.score_threshold"


@dataclass(frozen=True, slots=True)
class _Pair:
    """The bars of one row in one group."""

    label: str
    color: str
    paper: float | None
    ours: Statistic | None

    @property
    def bars(self) -> int:
        """How many there are."""
        return (self.paper is not None) + (self.ours is not None)

    @property
    def highest(self) -> float:
        """Upper end of all that is drawn."""
        ours = self.ours.spread[1] if self.ours else 0.0
        return max(self.paper or 0.0, ours)

    @property
    def words(self) -> str:
        """The numbers, for the reader who points at them."""
        ours = "–" if self.ours is None else f"{self.ours.mean:.1f}"
        if self.ours is not None and self.ours.n > 1:
            ours += f" ({self.ours.spread[0]:.1f}–{self.ours.spread[1]:.1f})"
        paper = "" if self.paper is None else f", paper {self.paper:.1f}"
        return f"{self.label}: {ours}{paper}"


def charts(results: SuiteResults, view: View) -> str:
    """Return the charts of a protocol and network as HTML."""
    benchmarks = list(dict.fromkeys(row.row.benchmark for row in results.rows))
    shown = [name for name in benchmarks if _has_runs(results, name)]
    left_out = [BENCHMARKS[name] for name in benchmarks if name not in shown]
    parts = [_sweep(results, view)]
    for name in shown:
        rows = [row for row in results.rows if row.row.benchmark == name]
        parts.append(_figure(rows, view, BENCHMARKS[name]))
    if left_out:
        parts.append(
            f'<div class="wb-quiet">not run at this scale: {escape(", ".join(left_out))}</div>'
        )
    return "".join(parts)


def _has_runs(results: SuiteResults, benchmark: str) -> bool:
    return any(row.has_data for row in results.rows if row.row.benchmark == benchmark)


def _figure(rows: Sequence[RowResult], view: View, title: str) -> str:
    colors = {row.key: row_color(row, index) for index, row in enumerate(rows)}
    task = rows[0].task
    # Classes have the name that the measure has for one of them, and the colours of its pictures.
    names = dict(zip(task.measures, task.class_measures, strict=True))
    key = _class_colors(rows)
    drawn: dict[str, dict[str, list[_Pair]]] = {
        name: _groups(rows, view, metric, colors) for metric, name in names.items()
    }
    used = {
        pair.label: pair.color
        for groups in drawn.values()
        for pairs in groups.values()
        for pair in pairs
        if pair.bars
    }
    hint = "filled: ours, hollow: the paper, line: smallest to largest seed"
    head = section(f"{' and '.join(drawn)} by class, {title}", hint)
    legend = "".join(
        f'<span class="wb-key"><i style="--key:{color}"></i>{escape(label)}</span>'
        for label, color in used.items()
    )
    figures = "".join(_bars(metric, groups, key) for metric, groups in drawn.items())
    return f'{head}<div class="wb-legend wb-results-legend">{legend}</div>{figures}'


def _class_colors(rows: Sequence[RowResult]) -> _ColorOf:
    """Return what gives a class its colour: none where a task's predictions are drawn nowhere."""
    task = rows[0].task
    if task.predictions_kind == "detections":
        return partial(class_css, names=classes_of(task, *(row.row for row in rows)))
    return semantic_css if task.predictions_kind == "label maps" else lambda _: None


def _groups(
    rows: Sequence[RowResult], view: View, metric: str, colors: Mapping[str, str]
) -> dict[str, list[_Pair]]:
    """Return the pairs of bars of every class, and of all together."""
    protocol, network = view
    groups: dict[str, list[_Pair]] = {}
    for name in (*rows[0].row.classes, None):
        groups[name or _ALL] = [
            _Pair(
                row.label,
                colors[row.key],
                row.paper.value(metric, name) if row.paper else None,
                row.statistic(network, protocol, metric, name),
            )
            for row in rows
        ]
    return groups


def _bars(metric: str, groups: Mapping[str, Sequence[_Pair]], key: _ColorOf) -> str:
    """Return one drawing: a group a class, of the colour that `key` has for its name."""
    highest = max((pair.highest for pairs in groups.values() for pair in pairs), default=0.0)
    if not highest:
        empty = '<div class="wb-chart-empty">no numbers by class yet</div>'
        return _framed(metric, empty)
    top = highest * 1.06
    room = (WIDTH - _LEFT - _RIGHT) / len(groups)
    width = min(_widest(pairs, room * _GROUP_SHARE) for pairs in groups.values())
    parts = _grid(top)
    tips: list[str] = []
    for index, (name, pairs) in enumerate(groups.items()):
        middle = _LEFT + (index + 0.5) * room
        color = None if name == _ALL else key(name)
        parts.append(_group_label(name, middle, room, color))
        parts += _group_bars([pair for pair in pairs if pair.bars], middle, width, top)
        tips.append(_tip(f"{metric}, {name}", pairs, middle, room))
    parts.append(f'<path class="wb-axis" d="M{_LEFT} {HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>')
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{metric} by class">'
        f"{''.join((*parts, *tips))}</svg>"
    )
    return _framed(metric, svg)


def _framed(metric: str, body: str) -> str:
    return (
        f'<figure class="wb-chart wb-bars"><div class="wb-chart-head"><span>{metric}, per cent'
        f'</span></div><div class="wb-bars-scroll">{body}</div></figure>'
    )


def _widest(pairs: Sequence[_Pair], room: float) -> float:
    """Return how wide the bars of a group may be."""
    bars = sum(pair.bars for pair in pairs)
    gaps = max(sum(pair.bars > 0 for pair in pairs) - 1, 0) * _PAIR_GAP
    return min((room - gaps) / bars, _WIDEST_BAR) if bars else _WIDEST_BAR


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM)


def _grid(top: float) -> list[str]:
    parts: list[str] = []
    for value in plots.nice_ticks(0, top):
        y = _y(value, top)
        parts.append(f'<path class="wb-grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="wb-tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">'
            f"{plots.number(value)}</text>"
        )
    return parts


def _group_label(name: str, middle: float, room: float, color: str | None) -> str:
    """Return the name of a class; without a colour, that of all together."""
    y = HEIGHT - _BOTTOM + 16
    if color is None:
        left = middle - room / 2
        divider = f'<path class="wb-mark" d="M{left:.1f} {_TOP}V{HEIGHT - 4}"/>'
        return divider + (
            f'<text class="wb-tick wb-strong" x="{middle:.1f}" y="{y}" text-anchor="middle">'
            f"{name}</text>"
        )
    # Nineteen names leave no room beside them: a word a line, the colour below the axis.
    words = "".join(
        f'<tspan x="{middle:.1f}" y="{y + 12 * line}">{escape(word)}</tspan>'
        for line, word in enumerate(name.split())
    )
    return (
        f'<rect x="{middle - room * 0.4:.1f}" y="{HEIGHT - _BOTTOM + 2}" width="{room * 0.8:.1f}" '
        f'height="4" rx="1" fill="{color}"/>'
        f'<text class="wb-tick" text-anchor="middle">{words}</text>'
    )


def _group_bars(pairs: Sequence[_Pair], middle: float, width: float, top: float) -> list[str]:
    whole = sum(pair.bars for pair in pairs) * width + (len(pairs) - 1) * _PAIR_GAP
    x = middle - whole / 2
    parts: list[str] = []
    for pair in pairs:
        if pair.paper is not None:
            parts.append(_bar(x, width, pair.paper, top, pair.color, "wb-bar-paper"))
            x += width
        if pair.ours is not None:
            parts.append(_bar(x, width, pair.ours.mean, top, pair.color, "wb-bar-ours"))
            if pair.ours.n > 1:
                low, high = (_y(value, top) for value in pair.ours.spread)
                at = x + width / 2
                parts.append(f'<path class="wb-whisker" d="M{at:.1f} {low:.1f}V{high:.1f}"/>')
            x += width
        x += _PAIR_GAP
    return parts


def _bar(x: float, width: float, value: float, top: float, color: str, kind: str) -> str:
    y = _y(value, top)
    height = HEIGHT - _BOTTOM - y
    return (
        f'<rect class="{kind}" style="--key:{color}" x="{x + 0.5:.1f}" y="{y:.1f}" '
        f'width="{width - 1:.1f}" height="{height:.1f}"/>'
    )


def _tip(title: str, pairs: Sequence[_Pair], middle: float, room: float) -> str:
    """Return an unseen column that shows its numbers under the pointer."""
    rows = [title, *(pair.words for pair in pairs if pair.bars)]
    width = max(len(row) for row in rows) * _LETTER + 12
    right = middle + room / 2 + 4
    left = right if right + width < WIDTH else middle - room / 2 - 4 - width
    texts = "".join(f'<tspan x="{left + 6:.1f}" dy="14">{escape(row)}</tspan>' for row in rows)
    return (
        f'<g class="wb-hit"><rect x="{middle - room / 2:.1f}" y="{_TOP}" width="{room:.1f}" '
        f'height="{HEIGHT - _TOP}"/><g class="wb-tip"><rect class="wb-tip-box" x="{left:.1f}" '
        f'y="{_TOP}" width="{width:.0f}" height="{len(rows) * 14 + 8}" rx="4"/>'
        f'<text y="{_TOP + 2}">{texts}</text></g></g>'
    )


def row_color(row: RowResult, index: int) -> str:
    """Return the colour of a row, the index-th of its suite."""
    if row.row.role == "lower_bound":
        return _SOURCE_ONLY_COLOR
    return _ORACLE_COLOR if row.row.role == "upper_bound" else _ROW_COLORS[index % len(_ROW_COLORS)]


def _sweep(results: SuiteResults, view: View) -> str:
    """Return the measures over the score threshold; empty for suites of another kind."""
    rows = [row for row in results.rows if _THRESHOLD in row.row.settings]
    if not rows:
        return ""
    drawn = "".join(
        plots.draw(_sweep_chart(results, rows, view, metric))
        for metric in results.suite.task.measures
    )
    hint = "band: smallest to largest seed; level lines: the ends of the gap"
    return f'{section("Ours over the score threshold", hint)}<div class="wb-charts">{drawn}</div>'


def _sweep_chart(
    results: SuiteResults, rows: Sequence[RowResult], view: View, metric: str
) -> Chart:
    protocol, network = view
    x = np.asarray([float(row.row.settings[_THRESHOLD]) for row in rows])
    found = [row.statistic(network, protocol, metric) for row in rows]
    nothing = (np.nan, np.nan)
    lines = [
        Line(
            network,
            LINE_COLORS[0],
            np.asarray([f.mean if f else np.nan for f in found]),
            np.asarray([(f.spread if f else nothing)[0] for f in found]),
            np.asarray([(f.spread if f else nothing)[1] for f in found]),
        )
    ]
    for name, color, bound in (
        ("w/o UDA", _SOURCE_ONLY_COLOR, results.bound(rows[0], "lower_bound")),
        ("upper bound", _ORACLE_COLOR, results.bound(rows[0], "upper_bound")),
    ):
        level = bound.statistic(network, protocol, metric) if bound else None
        if level is not None:
            lines.append(Line(name, color, np.full(len(x), level.mean)))
    return Chart(
        f"{metric}, per cent", x, lines, x_name="score threshold", from_zero=False, log=False
    )
