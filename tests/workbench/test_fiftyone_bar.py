"""The button that opens FiftyOne, and the list of sessions, with a small program in its place."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import inspect_stand_in
import pytest

from uda4inst.data.readers import Cityscapes
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from workbench.fiftyone_bar import Inspected, bar_view
from workbench.jobs.inspections import FiftyOneSession, Inspection, Inspections, SavedView
from workbench.pages.data import inspection as data_inspection
from workbench.pages.data.inspection import inspected as of_data
from workbench.pages.error_maps.inspection import inspected as of_errors
from workbench.pages.pseudo_labels.inspection import inspected as of_pseudo_labels
from workbench.services import Services
from workbench.session import SessionState, TreeChoice
from workbench.sessions.installed import ASKED
from workbench.sessions.predicted import Predicted
from workbench.ui.fiftyone_markup import session_status, session_table

PAGE = "http://127.0.0.1:5999/datasets/data-x"
OPEN = FiftyOneSession(
    number=3,
    inspection=Inspection("demo <teacher> 40", ("run", "demo")),
    since=1.8e9,
    state="open",
    address=PAGE,
    images=4,
    views=(
        SavedView("source", 4, f"{PAGE}?view=source"),
        SavedView("ap_demo: misses of car", 2, f"{PAGE}?view=misses-of-car"),
        SavedView("ap_demo: misses of bus", 1, f"{PAGE}?view=misses-of-bus"),
        SavedView("images without objects", 0, f"{PAGE}?view=none"),
    ),
)


@pytest.fixture
def bench(services: Services) -> Iterator[Services]:
    """Services whose sessions are small programs."""
    opener = (sys.executable, str(inspect_stand_in.__file__))
    inspections = Inspections(opener=opener, require=lambda: None)
    yield replace(services, inspections=inspections)
    for session in inspections.all():
        inspections.close(session.number)
    while inspections.all():
        time.sleep(0.02)


def asking(what: str) -> Callable[[Services, SessionState], Inspected]:
    return lambda services, state: Inspected(Inspection(what, (what,)), ("ap_demo: misses of car",))


def wait(bench: Services, what: str, words: str) -> Any:
    deadline = time.monotonic() + 20
    while words not in (view := bar_view(bench, SessionState(), asking(what))).status.value:
        assert time.monotonic() < deadline, view.status.value
        time.sleep(0.02)
    return view


def test_bar_view__nothing_before_the_button_is_pressed(bench: Services) -> None:
    view = bar_view(bench, SessionState(), asking("open"))
    assert (view.status.value, view.status.visible, view.button.interactive) == ("", False, True)


def test_bar_view__says_what_is_being_built(bench: Services) -> None:
    bench.inspections.open(Inspection("slow", ("slow",)))
    view = wait(bench, "slow", "Adding images: 1 of 4")
    assert "width:25%" in view.status.value
    assert view.button.interactive is False


def test_bar_view__links_to_what_is_picked_first(bench: Services) -> None:
    bench.inspections.open(Inspection("open", ("open",)))
    html = wait(bench, "open", "Open FiftyOne").status.value
    assert html.index("misses of car") < html.index("Open FiftyOne") < html.index(">source<")
    assert html.index("Saved views (1)") > 0  # one is picked, one shows nothing


def test_bar_view__failure_is_said_and_can_be_tried_again(bench: Services) -> None:
    bench.inspections.open(Inspection("wrong", ("wrong",)))
    view = wait(bench, "wrong", "root must be an UrbanSyn folder")
    assert "wb-problem" in view.status.value
    assert view.button.interactive is True


def test_bar_view__what_cannot_be_opened_is_said_when_the_button_is_pressed(
    bench: Services,
) -> None:
    view = bar_view(bench, SessionState(run="demo"), of_errors)
    assert (view.status.value, view.button.interactive) == ("", True)
    with pytest.raises(UserError, match="must have stored predictions"):
        of_errors(bench, SessionState(run="demo"))


def test_session_status__evaluations_are_lines_of_their_own() -> None:
    html = session_status(OPEN)
    assert "<small>ap_demo:</small>" in html
    assert f'href="{PAGE}?view=misses-of-bus"' in html
    assert "images without objects" not in html
    assert f'<iframe src="{PAGE}" loading="lazy"' in html
    picked = session_status(OPEN, ["ap_demo: misses of car"])
    assert f'<iframe src="{PAGE}?view=misses-of-car"' in picked


def test_session_status__of_runs_that_share_its_images_only_those_that_are_picked_come_first() -> (
    None
):
    names = (
        *("source", "ap_demo: misses of car", "ap_x_ap_demo: misses of car", "ap_b: on nothing"),
        *("ap_b: misses of car", "ap_demo: on nothing"),
    )
    views = tuple(SavedView(name, 1, f"{PAGE}?view={i}") for i, name in enumerate(names))
    picked = ("ap_demo: misses of car", "ap_b: misses of car", "ap_b: misses of bus")
    html = session_status(replace(OPEN, views=views), picked)
    main, others = html.split("<details", 1)
    assert re.findall(r">([^<>]*misses[^<>]*)</a>", main) == list(picked[:2])
    assert re.findall(r"<small>([^<>]*):</small>", others) == ["ap_demo", "ap_b", "ap_x_ap_demo"]


def test_session_table__states_and_buttons() -> None:
    failed = replace(OPEN, number=4, state="failed", error="root must <b>\nName it.")
    closing = replace(OPEN, number=5, state="closing")
    building = replace(OPEN, number=6, state="building", doing="Judging demo", done=3, total=12)
    html = session_table([OPEN, failed, closing, building])
    assert "demo &lt;teacher&gt; 40" in html
    assert ">http://127.0.0.1:5999</a>" in html
    assert "root must &lt;b&gt;" in html
    assert 'data-close="4">Remove' in html
    assert 'data-close="5"' not in html
    assert "Judging demo: 3 of 12" in html


def test_data__asks_for_both_sides_as_they_are_chosen(services: Services, toy_tree: Path) -> None:
    found = of_data(services, SessionState()).inspection
    assert found.title == "source urbansyn train, target cityscapes train"
    words = dict(zip(found.arguments[1::2], found.arguments[2::2], strict=True))
    assert json.loads(words["--source"]) == {
        "format": "urbansyn",
        "root": str(toy_tree / "urbansyn"),
    }
    chosen = TreeChoice("cityscapes", str(toy_tree / "cityscapes"), "val")
    state = SessionState().on_data(target=chosen, target_labels=True)
    other = of_data(services, state).inspection.arguments
    assert json.loads(other[4])["split"] == "val"
    assert other[-1] == "--target-labels"


def test_data__a_side_without_a_folder_is_left_out(services: Services) -> None:
    nothing = TreeChoice("urbansyn", "", "train")
    one = of_data(services, SessionState().on_data(source=nothing)).inspection
    assert "--source" not in one.arguments
    with pytest.raises(UserError, match="must be named"):
        of_data(services, SessionState().on_data(source=nothing, target=nothing))


def test_data__of_a_large_tree_some_images_and_how_to_see_all(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = of_data(services, SessionState())
    assert every.note == ""
    assert "--limit" not in every.inspection.arguments
    count = len(list((Path(json.loads(every.inspection.arguments[2])["root"]) / "rgb").iterdir()))
    monkeypatch.setattr(data_inspection, "LIMIT", count - 1)
    state = SessionState().on_data(source_position=1, target_position=99)
    some = of_data(services, state)
    root = Path(json.loads(every.inspection.arguments[4])["root"])
    shown = ("rgb_0002", Cityscapes(root, require_labels=False).basename(count - 1))
    assert some.inspection.arguments == (
        *every.inspection.arguments,
        *("--limit", str(count - 1), "--also", shown[0], "--also", shown[1]),
    )
    assert some.inspection.title == f"{every.inspection.title}, {shown[0]}, {shown[1]}"
    assert (every.views, some.views) == ((), (ASKED,))
    said, command = some.note.split(" All of them: ")
    assert said.startswith(f"{count - 1} of {count} source images")
    assert said.endswith(f"and the images on screen ({shown[0]}, {shown[1]}).")
    assert shlex.split(command) == ["uda4inst", "inspect", *every.inspection.arguments]
    assert f"{count - 1} of {count} source images" in session_status(OPEN, note=some.note)


def test_error_maps__asks_for_both_sides_and_the_errors_of_the_class(
    services: Services, write_run: Callable[..., Path], toy_tree: Path
) -> None:
    run = write_run(steps=40, tree=toy_tree / "cityscapes")
    state = SessionState(run="demo")
    found = of_errors(services, state)
    assert found.inspection.arguments == ("run", f"{run}@40:teacher")
    assert found.views == ("ap_demo_teacher_40: images by error",)
    both = state.on_errors(
        other_run="demo", other_network="student", class_name="car", images="some.txt"
    )
    found = of_errors(services, both)
    words = (f"{run}@40:teacher", f"{run}@40:student", "--images", "some.txt")
    assert found.inspection.arguments == ("run", *words)
    assert found.inspection.title == "demo teacher 40 and demo student 40, some.txt"
    assert found.views == tuple(
        f"ap_demo_{network}_40: {kind} of car"
        for network in ("teacher", "student")
        for kind in ("misses", "false positives", "errors")
    )


def test_error_maps__picked_views_are_named_as_the_session_names_them(
    services: Services, write_grouped_run: Callable[..., Path], toy_tree: Path
) -> None:
    run = write_grouped_run("Run.One", tree=toy_tree / "cityscapes", merged=True)
    group = "car-truck-bus-train"
    state = SessionState(run="Run.One").on_errors(group=group)
    (view,) = of_errors(services, state).views
    module = RunDir(run / "modules" / group)
    field = Predicted(module, 120, "teacher").field
    assert view == f"ap_{field.removeprefix('run_')}: images by error"


def test_pseudo_labels__asks_for_the_snapshot_on_screen(
    services: Services, write_run: Callable[..., Path]
) -> None:
    run = write_run(steps=200, snapshots=(0, 100))
    found = of_pseudo_labels(services, SessionState(run="demo"))
    words = ("run", str(run), "--show", "training", "--step")
    assert found.inspection.arguments == (*words, "100")
    assert found.views == ("step 100",)
    earlier = of_pseudo_labels(services, SessionState(run="demo").on_snapshot(20))
    assert earlier.inspection.arguments == (*words, "0")
    with pytest.raises(UserError, match="must have a snapshot"):
        of_pseudo_labels(services, SessionState())
