from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.results import collect
from uda4inst.suites.rows import View
from uda4inst.tasks.instances import Instances
from workbench.pages.results.charts import charts, row_color
from workbench.ui.palette import class_css

Draw = Callable[..., str]
VIEW: View = ("cityscapes", "student")


@pytest.fixture
def drawn(tmp_path: Path, suite_factory: ModuleType) -> Draw:
    def draw(suite: str, values: Mapping[str, Mapping[int, float]], **options: object) -> str:
        folder = suite_factory.write_suite(tmp_path / suite, suite, values, **options)
        return charts(collect(folder), VIEW)

    return draw


def figures(html: str) -> list[ElementTree.Element]:
    parts = [part.split("</svg>")[0] for part in html.split("<svg")[1:]]
    return [ElementTree.fromstring(f"<svg{part}</svg>") for part in parts]


def bars(figure: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [part for part in figure.iter("rect") if part.get("class") == kind]


def test_charts__papers_bars_stand_beside_ours(drawn: Draw) -> None:
    ap, ap50 = figures(drawn("table5", {"m1": {0: 10.0}, "m5": {0: 20.0}}))
    # Five rows and the upper bound by class, and their means; no train was found in ours.
    assert len(bars(ap, "wb-bar-paper")) == 6 * (len(THING_NAMES) + 1)
    assert len(bars(ap, "wb-bar-ours")) == 2 * len(THING_NAMES)
    assert len(bars(ap50, "wb-bar-paper")) == len(THING_NAMES) + 1
    assert len(bars(ap50, "wb-bar-ours")) == 2 * len(THING_NAMES)


def test_charts__classes_of_another_task_have_no_colour_of_the_eight(
    tmp_path: Path, suite_factory: ModuleType
) -> None:
    folder = suite_factory.write_suite(tmp_path / "table5", "table5", {"m1": {0: 10.0}})
    results = collect(folder)
    own = charts(results, VIEW)
    other = replace(Instances(), predictions_kind=None)
    rows = tuple(replace(row, task=other) for row in results.rows)
    foreign = charts(replace(results, rows=rows), VIEW)
    assert class_css("person") in own
    assert class_css("person") not in foreign


def test_charts__heights_are_the_numbers(drawn: Draw) -> None:
    ap, _ = figures(drawn("table5", {"m1": {0: 32.0}}))
    paper, ours = (bars(ap, kind)[0] for kind in ("wb-bar-paper", "wb-bar-ours"))
    # The paper's person of M1 is 25.1, ours 32.
    ratio = float(paper.get("height", 0)) / float(ours.get("height", 1))
    assert ratio == pytest.approx(25.1 / 32, abs=0.01)
    assert float(ours.get("x", 0)) >= float(paper.get("x", 0)) + float(paper.get("width", 0))


def test_charts__spread_of_several_seeds_is_drawn_and_said(drawn: Draw) -> None:
    html = drawn("table5", {"m1": {0: 10.0, 1: 12.0}}, seeds=(0, 1))
    assert html.count("wb-whisker") == 2 * len(THING_NAMES)
    assert "M1: 11.0 (10.0–12.0), paper 25.1" in html


def test_charts__bars_stay_inside_the_drawing(drawn: Draw) -> None:
    for figure in figures(drawn("table5", {"m1": {0: 99.0}, "oracle": {0: 99.0}})):
        width, height = map(float, figure.get("viewBox", "").split()[2:])
        for bar in [*bars(figure, "wb-bar-paper"), *bars(figure, "wb-bar-ours")]:
            x, y = float(bar.get("x", -1)), float(bar.get("y", -1))
            assert x >= 0
            assert y >= 0
            assert x + float(bar.get("width", 0)) <= width
            assert y + float(bar.get("height", 0)) <= height


def test_charts__one_for_each_source_that_the_scale_has(drawn: Draw) -> None:
    toy = drawn("table1", {"urbansyn_uda4inst": {0: 10.0}})
    assert len(figures(toy)) == 2
    assert "not run at this scale: Synscapes → Cityscapes, SYNTHIA → Cityscapes" in toy


def test_charts__thresholds_have_a_curve(drawn: Draw) -> None:
    values = {"threshold50": {0: 6.0}, "threshold90": {0: 9.0}, "oracle": {0: 12.0}}
    html = drawn("thresholds", values)
    assert "Ours over the score threshold" in html
    assert "upper bound" in html
    assert len(figures(html)) == 4
    assert "Ours over" not in drawn("table2", {})


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_row_color__tells_the_rows_of_a_benchmark_apart(
    suite: str, tmp_path: Path, suite_factory: ModuleType
) -> None:
    results = collect(suite_factory.write_suite(tmp_path / suite, suite, {}))
    for benchmark in {row.row.benchmark for row in results.rows}:
        rows = [row for row in results.rows if row.row.benchmark == benchmark]
        colors = [row_color(row, index) for index, row in enumerate(rows)]
        assert len(set(colors)) == len(colors)
