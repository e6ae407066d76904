from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from workbench.ui.plots import Chart, Line, Mark, draw, nice_ticks, number


def svg_of(html: str) -> ElementTree.Element:
    match = re.search(r"<svg.*</svg>", html, re.DOTALL)
    assert match is not None
    return ElementTree.fromstring(match.group())


def make_chart(y: list[float]) -> Chart:
    line = Line("loss", "#123456", np.array(y, dtype=float))
    return Chart("Loss", np.arange(len(y), dtype=float), [line])


@pytest.mark.parametrize("y", [[], [np.nan, np.nan]], ids=["no-steps", "no-values"])
def test_draw__nothing_logged_says_so(y: list[float]) -> None:
    assert "nothing logged yet" in draw(make_chart(y))


@pytest.mark.parametrize(
    "y",
    [[3.0], [0.0, 0.0], [1.0, np.nan, 2.0], [-1.0, 5.0], [1e-9, 2e-9], [1e9, 2e9]],
    ids=["one", "zero", "gap", "negative", "tiny", "huge"],
)
def test_draw__is_well_formed_inside_its_frame(y: list[float]) -> None:
    svg = svg_of(draw(make_chart(y)))
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    lines = [e.attrib["d"] for e in svg.iter("path") if e.get("class") == "wb-line"]
    places = [float(v) for d in lines for v in re.findall(r"-?\d+\.\d", d)]
    assert all(0 <= v <= max(width, height) for v in places)


def test_draw__gap_breaks_the_line() -> None:
    html = draw(make_chart([1, 2, np.nan, 2, 1]))
    path = re.search(r'class="wb-line"[^>]* d="([^"]*)"', html)
    assert path is not None
    assert path.group(1).count("M") == 2


def test_draw__joined_lines_go_on_over_a_gap() -> None:
    html = draw(replace(make_chart([1, 2, np.nan, 2, 1]), joined=True))
    path = re.search(r'class="wb-line"[^>]* d="([^"]*)"', html)
    assert path is not None
    assert (path.group(1).count("M"), path.group(1).count("L")) == (1, 3)
    assert html.count("wb-hit") == 4  # nothing was measured there: no readout


def test_draw__first_spike_does_not_flatten_the_rest() -> None:
    y = [1e6] + [1.0] * 999
    ticks = re.findall(r'text-anchor="end">([^<]*)<', draw(make_chart(y)))
    assert "1,000,000" not in ticks


def test_draw__words_from_outside_are_escaped() -> None:
    line = Line("<b>x", "#000", np.ones(2))
    html = draw(Chart("a<b", np.arange(2, dtype=np.float64), [line, line], marks=[Mark(1, "<i>")]))
    assert "<b>x" not in html
    assert "<i>" not in html.replace('<i style="--key:#000">', "")


def test_draw__legend_reads_at_the_strong_mark() -> None:
    x = np.array([0.0, 0.5, 1.0])
    lines = [Line(name, "#000", np.array([9.0, 5.0, 1.0])) for name in "ab"]
    html = draw(Chart("t", x, lines, marks=[Mark(0.6, "0.6", strong=True)], steps=True))
    assert "<small>5</small>" in html


def test_draw__readout_names_step_and_value() -> None:
    html = draw(make_chart([1.25, 2.5]))
    assert "step 1" in html
    assert "loss 2.5" in html


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2.5, 5, 7.5, 10]), (0, 0.9, [0, 0.25, 0.5, 0.75]), (5, 5, [5])],
)
def test_nice_ticks__round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("high", "ticks"),
    [
        (0.2, [0]),
        (1.06, [0, 1]),
        (3.2, [0, 1, 2, 3]),
        (9.5, [0, 2, 4, 6, 8]),
        (44, [0, 10, 20, 30, 40]),
    ],
)
def test_nice_ticks__of_counts_are_whole(high: float, ticks: list[float]) -> None:
    assert nice_ticks(0, high, whole=True) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.0, "12,345"), (1234.5, "1,234"), (0.5, "0.5"), (1.2e-4, "1.2e-04"), (np.nan, "–")],
)
def test_number__short(value: float, text: str) -> None:
    assert number(value) == text
