"""Line charts as SVG text: crisp, light, legible on light and dark, values readable on hover.

Colours of text, axes and grid are CSS variables of `workbench.css`; nothing runs in the browser
but style rules, so a chart costs the page little and the server a few milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH: Final = 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 8, 8, 30
_READOUTS: Final = 60


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One curve.

    Args:
        name: shown in legend and readout.
        color: CSS colour.
        y: value at every x of the chart; NaN leaves a gap.
        low: lower edge of a band around the curve, or None.
        high: upper edge of the band.
    """

    name: str
    color: str
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a word beside it."""

    x: float
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """What a chart shows.

    Args:
        title: what is drawn, with its unit.
        x: places of all values, ascending.
        lines: curves over `x`.
        x_name: what `x` counts.
        marks: vertical lines.
        height: of the drawing, in units of a drawing 440 wide.
        from_zero: whether the vertical axis begins at 0.
        steps: draw plateaus instead of slopes (counts over a threshold).
        log: values over time: the legend has the newest, and a few may leave the scale.
        whole: values are counts: the vertical axis has whole numbers only.
        joined: not every line has a value everywhere: it goes straight over places without one.
    """

    title: str
    x: Floats
    lines: Sequence[Line]
    x_name: str = "step"
    marks: Sequence[Mark] = ()
    height: int = 180
    from_zero: bool = True
    steps: bool = False
    log: bool = True
    whole: bool = False
    joined: bool = False


def draw(chart: Chart) -> str:
    """Return a chart as HTML: title, legend and SVG. A chart without values says so."""
    shown = [line for line in chart.lines if np.isfinite(line.y).any()]
    if not len(chart.x) or not shown:
        body = '<div class="wb-chart-empty">nothing logged yet</div>'
        return _frame(chart.title, "", body)
    scale = _Scale.of(chart, shown)
    parts = [
        *_axes(chart, scale),
        *(_band(chart, line, scale) for line in shown if line.low is not None),
        *(_curve(chart, line, scale) for line in shown),
        *(_mark(mark, scale) for mark in chart.marks),
        *_readouts(chart, shown, scale),
    ]
    label = escape(f"{chart.title}: {', '.join(line.name for line in shown)}")
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {chart.height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
    return _frame(chart.title, _legend(chart, shown) if len(shown) > 1 else "", svg)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places in the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: int

    @classmethod
    def of(cls, chart: Chart, lines: Sequence[Line]) -> _Scale:
        values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
        low, high = float(values.min()), float(values.max())
        if chart.log and len(values) > 40:
            # A few steps off the scale (the first of a training) must not flatten the rest.
            high = max(float(np.quantile(values, 0.995)), low)
        if chart.from_zero:
            low = min(low, 0.0)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        x_low, x_high = float(chart.x[0]), float(chart.x[-1])
        return cls(
            x_low=x_low if x_high > x_low else x_low - 0.5,
            x_high=x_high if x_high > x_low else x_low + 0.5,
            y_low=low if chart.from_zero else low - room,
            y_high=high + room,
            height=chart.height,
        )

    def x(self, value: Floats | float) -> Floats:
        share = (np.asarray(value) - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: Floats | float) -> Floats:
        share = (np.asarray(value) - self.y_low) / (self.y_high - self.y_low)
        place = self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)
        return np.clip(place, _TOP - 2, self.height - _BOTTOM + 1)


def nice_ticks(low: float, high: float, *, count: int = 4, whole: bool = False) -> list[float]:
    """Return about `count` round numbers between two values; whole ones only if asked for.

    Example:
        >>> nice_ticks(0, 10)
        [0.0, 2.5, 5.0, 7.5, 10.0]
        >>> nice_ticks(0, 10, whole=True)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    raw = (high - low) / max(count, 1)
    if not math.isfinite(raw) or raw <= 0:
        return [low]
    least = max(0.8 * raw, 1.0) if whole else 0.999 * raw
    power = 10.0 ** math.floor(math.log10(least))
    steps = (factor * power for factor in (1, 2, 2.5, 5, 10))
    step = next(s for s in steps if s >= least and (s == int(s) or not whole))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def number(value: float) -> str:
    """Return a number as short as it can be read.

    Example:
        >>> [number(v) for v in (12345.0, 0.5, 0.00012, 3.0)]
        ['12,345', '0.5', '1.2e-04', '3']
    """
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3g}"


def _frame(title: str, legend: str, body: str) -> str:
    head = f'<div class="wb-chart-head"><span>{escape(title)}</span>{legend}</div>'
    return f'<figure class="wb-chart">{head}{body}</figure>'


def _legend(chart: Chart, lines: Sequence[Line]) -> str:
    """Return the curves' colours, and of a log the values: at the strong mark, else the newest."""
    strong = next((mark.x for mark in chart.marks if mark.strong), math.inf)

    def value(line: Line) -> str:
        return f" <small>{number(_value_at(chart.x, line.y, strong))}</small>" if chart.log else ""

    keys = "".join(
        f'<span class="wb-key"><i style="--key:{line.color}"></i>{escape(line.name)}{value(line)}'
        "</span>"
        for line in lines
    )
    return f'<span class="wb-legend">{keys}</span>'


def _value_at(x: Floats, y: Floats, place: float) -> float:
    """Return the last known value at or before a place."""
    known = y[np.isfinite(y) & (x <= place + 1e-9)]
    return float(known[-1]) if len(known) else math.nan


def _axes(chart: Chart, scale: _Scale) -> list[str]:
    bottom = chart.height - _BOTTOM
    parts: list[str] = []
    for value in nice_ticks(scale.y_low, scale.y_high, whole=chart.whole):
        y = float(scale.y(value))
        parts.append(f'<path class="wb-grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="wb-tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">'
            f"{number(value)}</text>"
        )
    for value in nice_ticks(scale.x_low, scale.x_high, count=5):
        x = float(scale.x(value))
        anchor = "end" if x > WIDTH - _RIGHT - 12 else "middle"
        parts.append(
            f'<text class="wb-tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="{anchor}">'
            f"{number(value)}</text>"
        )
    parts.append(f'<path class="wb-axis" d="M{_LEFT} {bottom}H{WIDTH - _RIGHT}"/>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="wb-tick" x="{middle}" y="{bottom + 27}" text-anchor="middle">'
        f"{escape(chart.x_name)}</text>"
    )
    return parts


def _points(x: Floats, y: Floats) -> list[str]:
    return [f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)]


def _runs(finite: NDArray[np.bool_]) -> list[slice]:
    """Return the stretches of values without gaps."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], finite.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _curve(chart: Chart, line: Line, scale: _Scale) -> str:
    path: list[str] = []
    dots: list[str] = []
    finite = np.isfinite(line.y)
    for run in [finite] if chart.joined else _runs(finite):
        points = _points(scale.x(chart.x[run]), scale.y(line.y[run]))
        if len(points) == 1:
            place = points[0].split(" ")
            dots.append(f'<circle cx="{place[0]}" cy="{place[1]}" r="2.5" fill="{line.color}"/>')
        elif chart.steps:
            corners = [f"H{b.split(' ')[0]}V{b.split(' ')[1]}" for b in points[1:]]
            path.append(f"M{points[0]}{''.join(corners)}")
        else:
            path.append("M" + "L".join(points))
    drawn = f'<path class="wb-line" stroke="{line.color}" d="{"".join(path)}"/>' if path else ""
    return drawn + "".join(dots)


def _band(chart: Chart, line: Line, scale: _Scale) -> str:
    if line.low is None or line.high is None:
        return ""
    path: list[str] = []
    for run in _runs(np.isfinite(line.low) & np.isfinite(line.high)):
        x = scale.x(chart.x[run])
        there = _points(x, scale.y(line.high[run]))
        back = _points(x, scale.y(line.low[run]))[::-1]
        path.append("M" + "L".join(there + back) + "Z")
    return f'<path fill="{line.color}" opacity="0.16" d="{"".join(path)}"/>'


def _mark(mark: Mark, scale: _Scale) -> str:
    if not scale.x_low <= mark.x <= scale.x_high:
        return ""
    x = float(scale.x(mark.x))
    near_end = x > WIDTH * 0.8
    shift, anchor = (-4, "end") if near_end else (4, "start")
    kind = "wb-mark wb-mark-strong" if mark.strong else "wb-mark"
    return (
        f'<path class="{kind}" d="M{x:.1f} {_TOP}V{scale.height - _BOTTOM}"/>'
        f'<text class="wb-tick" x="{x + shift:.1f}" y="{_TOP + 9}" text-anchor="{anchor}">'
        f"{escape(mark.text)}</text>"
    )


def _readouts(chart: Chart, lines: Sequence[Line], scale: _Scale) -> list[str]:
    """Return invisible columns; the one under the pointer shows its values."""
    count = len(chart.x)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _READOUTS)).astype(np.int64))
    places = scale.x(chart.x[chosen])
    borders = np.concatenate([[_LEFT], (places[1:] + places[:-1]) / 2, [WIDTH - _RIGHT]])
    bottom = chart.height - _BOTTOM
    parts: list[str] = []
    for k, index in enumerate(chosen):
        values = [(line, float(line.y[index])) for line in lines if np.isfinite(line.y[index])]
        if not values:
            continue
        x = float(places[k])
        rows = [f"{chart.x_name} {number(float(chart.x[index]))}"]
        rows += [f"{line.name} {number(value)}" for line, value in values]
        parts.append(
            f'<g class="wb-hit"><rect x="{borders[k]:.1f}" y="{_TOP}" '
            f'width="{borders[k + 1] - borders[k]:.1f}" height="{bottom - _TOP}"/>'
            f'<g class="wb-tip"><path d="M{x:.1f} {_TOP}V{bottom}"/>'
            + "".join(
                f'<circle cx="{x:.1f}" cy="{float(scale.y(v)):.1f}" r="3" fill="{line.color}"/>'
                for line, v in values
            )
            + _tip(rows, x)
            + "</g></g>"
        )
    return parts


def _tip(rows: Sequence[str], x: float) -> str:
    width = max(len(row) for row in rows) * 6.1 + 12
    left = x + 8 if x + 8 + width < WIDTH - _RIGHT else x - 8 - width
    texts = "".join(f'<tspan x="{left + 6:.1f}" dy="13">{escape(row)}</tspan>' for row in rows)
    return (
        f'<rect class="wb-tip-box" x="{left:.1f}" y="{_TOP + 2}" width="{width:.0f}" '
        f'height="{len(rows) * 13 + 8}" rx="4"/><text y="{_TOP + 3}">{texts}</text>'
    )
