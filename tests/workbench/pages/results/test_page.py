from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from uda4inst.errors import UserError
from workbench.pages.results.page import choose
from workbench.pages.results.view import ResultsView, chosen_folder, results_tick, results_view
from workbench.services import Services
from workbench.session import SessionState
from workbench.ui.edge import UNCHANGED, Empty

HERE = SessionState(page="results")
VALUES = {"m1": {0: 10.0}, "m5": {0: 20.0}, "oracle": {0: 30.0}}


@pytest.fixture
def folder(services: Services, suite_factory: Any) -> Path:
    return suite_factory.write_suite(services.suites.root / "table5-toy", "table5", VALUES)


def shown(services: Services, state: SessionState = HERE) -> Any:
    return results_view(services, state).content()


def on_screen(view: ResultsView, chart: Any) -> tuple[Any, ...]:
    return view.facts, view.runs, chart


def test_results_view__no_suite_says_how_to_make_one(services: Services) -> None:
    empty = shown(services)
    assert isinstance(empty, Empty)
    assert "No suite yet" in empty.message
    assert "uda4inst suite table5" in empty.message
    assert results_view(services, HERE).head[0].choices == []


def test_results_view__newest_suite_and_its_exports(services: Services, folder: Path) -> None:
    head = results_view(services, HERE).head
    assert head[0].value == str(folder)
    assert head[1:] == ["cityscapes", "student"]
    view = shown(services)
    assert "Table 5: components" in view.facts
    assert "<b>20.0</b>" in view.table
    assert "AP and AP50 by class" in view.charts
    assert view.classes.count("<details") == 2
    assert Path(view.markdown.value["path"]).name == "table5-toy-cityscapes-student.md"
    assert "20.0 (20.0–20.0)" in Path(view.markdown.value["path"]).read_text()
    for button in (view.csv, view.latex):
        assert Path(button.value["path"]).is_file()


def test_results_view__protocol_and_network(services: Services, folder: Path) -> None:
    view = shown(services, HERE.on_results(protocol="coco", network="teacher"))
    assert "<b>23.0</b>" in view.table
    assert Path(view.csv.value["path"]).name == "table5-toy-coco-teacher.csv"


def test_results_tick__figure_comes_when_it_is_drawn(services: Services, folder: Path) -> None:
    first = shown(services)
    drawn = services.suites.chart(folder, ("cityscapes", "student")).result()
    update = results_tick(services, HERE, str(folder), *on_screen(first, None))
    assert isinstance(update, ResultsView)
    assert drawn is not None
    assert Path(update.chart.value["path"]).read_bytes() == drawn.data
    others = [getattr(update, field.name) for field in fields(update) if field.name != "chart"]
    assert all(value == gr.skip() for value in others)
    again = on_screen(first, update.chart.value)
    assert results_tick(services, HERE, str(folder), *again) is UNCHANGED
    assert shown(services).chart.value["path"] == update.chart.value["path"]


def test_results_tick__figure_of_another_view_is_replaced(services: Services, folder: Path) -> None:
    services.suites.chart(folder, ("cityscapes", "student")).result()
    parts = on_screen(shown(services), {"path": "cache/table2-toy-coco-student.png"})
    update: Any = results_tick(services, HERE, str(folder), *parts)
    assert Path(update.chart.value["path"]).name == "table5-toy-cityscapes-student.png"


def test_results_tick__nothing_to_draw_asks_for_no_figure(
    services: Services, suite_factory: Any
) -> None:
    folder = suite_factory.write_suite(services.suites.root / "a", "table5", {})
    assert services.suites.chart(folder, ("cityscapes", "student")).result() is None
    view = shown(services)
    assert (view.chart.interactive, view.chart.value) == (False, None)
    assert results_tick(services, HERE, str(folder), *on_screen(view, None)) is UNCHANGED


def test_results_tick__a_running_run_moves_its_line_alone(
    services: Services, folder: Path, suite_factory: Any
) -> None:
    suite_factory.write_status(folder, "m3-seed0", state="stopped", step=1, steps=99)
    drawn = services.suites.chart(folder, ("cityscapes", "student")).result()
    assert drawn is not None
    parts = on_screen(shown(services), {"path": drawn.name})
    suite_factory.write_status(folder, "m3-seed0", state="stopped", step=10, steps=99)
    update: Any = results_tick(services, HERE, str(folder), *parts)
    assert "10 of 99" in update.runs
    assert update.table == gr.skip()


def test_results_tick__progress_and_new_results_are_shown(
    services: Services, folder: Path, suite_factory: Any
) -> None:
    parts = on_screen(shown(services), {"path": "drawn.png"})
    suite_factory.write_finished(folder, "m3-seed0", 15.0)
    update: Any = results_tick(services, HERE, str(folder), *parts)
    assert "<b>15.0</b>" in update.content().table


def test_results_tick__another_suite_does_not_take_the_place(
    services: Services, folder: Path, suite_factory: Any
) -> None:
    drawn = services.suites.chart(folder, ("cityscapes", "student")).result()
    assert drawn is not None
    parts = on_screen(shown(services), {"path": drawn.name})
    newer = suite_factory.write_suite(services.suites.root / "table2-toy", "table2", {})
    os.utime(newer / "suite.yaml", (2**33, 2**33))
    assert chosen_folder(services.suites, HERE) == newer
    assert results_tick(services, HERE, str(folder), *parts) is UNCHANGED


def test_results_tick__first_suite_appears_by_itself(
    services: Services, suite_factory: Any
) -> None:
    nothing: Any = results_tick(services, HERE, None, None, None, None)
    assert isinstance(nothing.content(), Empty)
    suite_factory.write_suite(services.suites.root / "table5-toy", "table5", VALUES)
    update: Any = results_tick(services, HERE, None, None, None, None)
    assert "<b>20.0</b>" in update.content().table


def test_choose__typed_folder_and_back_to_the_newest(services: Services, folder: Path) -> None:
    typed = choose(HERE, "folder", str(folder.parent / "nothing"))
    with pytest.raises(UserError, match=r"suite\.yaml"):
        shown(services, typed)
    assert results_view(services, typed).head[0].value == str(folder.parent / "nothing")
    assert choose(typed, "folder", "") == HERE
    assert choose(HERE, "network", "teacher").results.network == "teacher"


def test_session__another_run_keeps_the_results_on_screen() -> None:
    state = HERE.on_results(folder="suites/a", protocol="coco")
    assert state.on_run("demo").results == state.results
