from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import gradio as gr
import pytest
from speed_records import record

from uda4inst.errors import UserError
from uda4inst.evaluation.semantic import CLASS_SETS
from uda4inst.run_folder.layout import RunDir, runs_in
from uda4inst.run_folder.speeds import append_speed
from uda4inst.suites.folder import SuiteFolder
from uda4inst.suites.results import SuiteResults, collect
from workbench.pages.results.page import choose, choose_folder
from workbench.pages.results.speeds import speed_table
from workbench.pages.results.view import (
    ChangesView,
    OnScreen,
    ResultsView,
    chosen_folder,
    results_tick,
    results_view,
)
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.speeds import Speeds
from workbench.ui.views import UNCHANGED, Empty, Framed

HERE = SessionState(page="results")
VALUES = {"m1": {0: 10.0}, "m5": {0: 20.0}, "oracle": {0: 30.0}}


@pytest.fixture(autouse=True)
def _artist_at_rest(services: Services) -> Iterator[None]:
    """End a drawing with its test: matplotlib does not bear two artists at once."""
    yield
    services.suites._artist.shutdown(cancel_futures=True)


@pytest.fixture
def folder(services: Services, suite_factory: ModuleType) -> Path:
    return suite_factory.write_suite(services.suites.root / "table5-toy", "table5", VALUES)


def content(outcome: object) -> ResultsView:
    assert isinstance(outcome, Framed)
    view = outcome.content()
    assert isinstance(view, ResultsView)
    return view


def shown(services: Services, state: SessionState = HERE) -> ResultsView:
    return content(results_view(services, state))


def on_screen(folder: Path, view: ResultsView, chart: str | None) -> OnScreen:
    speeds = speed_table(Speeds(()))
    return OnScreen(
        folder=str(folder), facts=view.facts, runs=view.runs, chart=chart, speeds=speeds
    )


def changes(services: Services, screen: OnScreen) -> ChangesView:
    update = results_tick(services, HERE, screen)
    assert isinstance(update, ChangesView)
    return update


def file(button: object) -> Path:
    """Return what a button hands out."""
    assert isinstance(button, gr.DownloadButton)
    assert isinstance(button.value, dict)
    return Path(button.value["path"])


def test_results_view__no_suite_says_how_to_make_one(services: Services) -> None:
    framed = results_view(services, HERE)
    empty = framed.content()
    assert isinstance(empty, Empty)
    assert "No suite yet" in empty.message
    assert "uda4inst suite table5" in empty.message
    assert framed.head.folder.choices == []


def test_results_view__newest_suite_and_its_exports(services: Services, folder: Path) -> None:
    head = results_view(services, HERE).head
    assert head.folder.value == str(folder)
    assert (head.protocol.value, head.network) == ("cityscapes", "student")
    assert [value for _, value in head.protocol.choices] == ["cityscapes", "coco"]
    view = shown(services)
    assert "Table 5: components" in view.facts
    assert "<b>20.0</b>" in view.table
    assert "AP and AP50 by class" in view.charts
    assert view.classes.count("<details") == 2
    assert file(view.markdown).name == "table5-toy-cityscapes-student.md"
    assert "20.0 (20.0–20.0)" in file(view.markdown).read_text()
    for button in (view.csv, view.latex):
        assert file(button).is_file()


def test_results_view__protocol_and_network(services: Services, folder: Path) -> None:
    view = shown(services, HERE.on_results(protocol="coco", network="teacher"))
    assert "<b>23.0</b>" in view.table
    assert file(view.csv).name == "table5-toy-coco-teacher.csv"


def test_results_view__offers_the_protocols_of_the_suites_task(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SuiteResults, "protocols", ("pixels",))
    protocol = results_view(services, HERE.on_results(protocol="coco")).head.protocol
    assert ([value for _, value in protocol.choices], protocol.value) == (["pixels"], "pixels")


def test_results_tick__figure_comes_when_it_is_drawn(services: Services, folder: Path) -> None:
    first = shown(services)
    drawn = services.suites.chart(folder, ("cityscapes", "student")).result()
    update = changes(services, on_screen(folder, first, None))
    assert drawn is not None
    assert file(update.chart).read_bytes() == drawn.data
    assert update.runs == gr.skip()
    again = on_screen(folder, first, file(update.chart).name)
    assert results_tick(services, HERE, again) is UNCHANGED
    assert file(shown(services).chart) == file(update.chart)


def test_results_tick__figure_of_another_view_is_replaced(services: Services, folder: Path) -> None:
    services.suites.chart(folder, ("cityscapes", "student")).result()
    screen = on_screen(folder, shown(services), "table2-toy-coco-student.png")
    assert file(changes(services, screen).chart).name == "table5-toy-cityscapes-student.png"


def test_results_tick__nothing_to_draw_asks_for_no_figure(
    services: Services, suite_factory: ModuleType
) -> None:
    folder = suite_factory.write_suite(services.suites.root / "a", "table5", {})
    assert services.suites.chart(folder, ("cityscapes", "student")).result() is None
    view = shown(services)
    assert (view.chart.interactive, view.chart.value) == (False, None)
    assert results_tick(services, HERE, on_screen(folder, view, None)) is UNCHANGED


def test_results_tick__a_running_run_moves_its_line_alone(
    services: Services, folder: Path, suite_factory: ModuleType
) -> None:
    suite_factory.write_status(folder, "m3-seed0", state="stopped", step=1, steps=99)
    drawn = services.suites.chart(folder, ("cityscapes", "student")).result()
    assert drawn is not None
    screen = on_screen(folder, shown(services), drawn.name)
    suite_factory.write_status(folder, "m3-seed0", state="stopped", step=10, steps=99)
    update = changes(services, screen)
    assert isinstance(update.runs, str)
    assert "10 of 99" in update.runs
    assert update.chart == gr.skip()


def test_results_tick__progress_and_new_results_are_shown(
    services: Services, folder: Path, suite_factory: ModuleType
) -> None:
    screen = on_screen(folder, shown(services), "drawn.png")
    suite_factory.write_finished(folder, "m3-seed0", 15.0)
    assert "<b>15.0</b>" in content(results_tick(services, HERE, screen)).table


def test_results_tick__another_suite_does_not_take_the_place(
    services: Services, folder: Path, suite_factory: ModuleType
) -> None:
    drawn = services.suites.chart(folder, ("cityscapes", "student")).result()
    assert drawn is not None
    screen = on_screen(folder, shown(services), drawn.name)
    newer = suite_factory.write_suite(services.suites.root / "table2-toy", "table2", {})
    os.utime(newer / "suite.yaml", (2**33, 2**33))
    assert chosen_folder(services.suites, HERE) == newer
    assert results_tick(services, HERE, screen) is UNCHANGED


def test_results_tick__first_suite_appears_by_itself(
    services: Services, suite_factory: ModuleType
) -> None:
    nothing = results_tick(services, HERE, OnScreen())
    assert isinstance(nothing, Framed)
    assert isinstance(nothing.content(), Empty)
    suite_factory.write_suite(services.suites.root / "table5-toy", "table5", VALUES)
    assert "<b>20.0</b>" in content(results_tick(services, HERE, OnScreen())).table


def test_choose__typed_folder_and_back_to_the_newest(services: Services, folder: Path) -> None:
    typed = choose_folder(HERE, str(folder.parent / "nothing"))
    with pytest.raises(UserError, match=r"suite\.yaml"):
        shown(services, typed)
    assert results_view(services, typed).head.folder.value == str(folder.parent / "nothing")
    assert choose_folder(typed, "") == HERE


def test_choose__stays_with_the_suite_on_screen(
    services: Services, folder: Path, suite_factory: ModuleType
) -> None:
    newer = suite_factory.write_suite(services.suites.root / "table2-toy", "table2", {})
    os.utime(newer / "suite.yaml", (2**33, 2**33))
    state = choose(HERE, "network", "teacher", str(folder))
    assert state.results.network == "teacher"
    assert chosen_folder(services.suites, state) == folder
    other = choose_folder(HERE, str(newer))
    assert chosen_folder(services.suites, choose(other, "protocol", "coco", str(folder))) == newer


@pytest.mark.parametrize("text", ["  ", "~nobody-of-this-name/suites"])
def test_results_view__what_is_no_path_is_one_message_below_the_controls(
    services: Services, folder: Path, text: str
) -> None:
    state = choose_folder(HERE, text)
    for view in (results_view(services, state), results_tick(services, state, OnScreen())):
        assert isinstance(view, Framed)
        assert view.head.folder.value == text
        with pytest.raises(UserError, match="SUITE_FOLDER must be"):
            view.content()


def test_results_view__speeds_of_another_place_are_not_read(
    services: Services, tmp_path: Path, suite_factory: ModuleType
) -> None:
    outside = suite_factory.write_suite(tmp_path / "outside" / "table5-toy", "table5", VALUES)
    (run, *_) = runs_in(SuiteFolder(outside).runs)
    append_speed(run.speeds, record(network="of the suite"))
    view = results_view(services, choose_folder(HERE, str(outside)))
    assert "of the suite" not in view.head.speeds
    with pytest.raises(UserError, match="must lie in one of the app's folders"):
        view.content()


def test_results_view__classes_of_ones_own_have_their_colour(
    services: Services, folder: Path
) -> None:
    path = SuiteFolder(folder).run("m5-seed0").evaluation_of(9)
    judged = json.loads(path.read_text())
    judged["results"]["student"]["cityscapes"]["per_class"]["cone"] = {"AP": 0.5, "AP50": 0.6}
    path.write_text(json.dumps(judged))
    assert "cone" in shown(services).charts


def test_session__another_run_keeps_the_results_on_screen() -> None:
    state = HERE.on_results(folder="suites/a", protocol="coco")
    assert state.on_run("demo").results == state.results


def test_results_view__speeds_are_there_without_a_suite(services: Services) -> None:
    head = results_view(services, HERE).head
    assert "No speed measured yet" in head.speeds
    assert "uda4inst bench RUN" in head.speeds


def test_results_tick__a_new_measurement_appears(services: Services, folder: Path) -> None:
    view = shown(services)
    services.runs.root.mkdir(parents=True, exist_ok=True)
    append_speed(RunDir(services.runs.root).speeds, record())
    update = changes(services, on_screen(folder, view, None))
    assert "mit_tiny, fresh weights" in str(update.speeds)


def test_results_view__speeds_of_a_suites_runs_are_listed(services: Services, folder: Path) -> None:
    (run, *_) = runs_in(SuiteFolder(folder).runs)
    append_speed(run.speeds, record(network="of the suite"))
    assert "of the suite" in results_view(services, HERE).head.speeds


def test_results_view__means_over_parts_of_the_classes(
    services: Services, suite_factory: ModuleType
) -> None:
    folder = suite_factory.write_suite(services.suites.root / "ehtdi-toy", "ehtdi", {})
    for name, miou in (("source_only", 0.2), ("mixing", 0.25), ("oracle", 0.3)):
        suite_factory.write_semantic_finished(folder, f"{name}-seed0", miou)
    view = shown(services)
    assert "58.8" in view.table  # the paper's
    assert "mIoU over parts of the classes" in view.table
    mixing = collect(folder).row("mixing")
    for name, classes in CLASS_SETS.items():
        mean = mixing.statistic("student", "pixels", "mIoU", classes)
        assert mean is not None
        assert f">{name}</th>" in view.table
        assert f"<b>{mean.mean:.1f}</b>" in view.table
    assert "over parts" not in view.classes
