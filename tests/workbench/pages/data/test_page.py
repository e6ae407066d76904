from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from uda4inst.colors import CLASS_COLORS, IGNORED_OBJECT_COLOR
from uda4inst.data.records import LabelArrays
from uda4inst.errors import UserError
from workbench.jobs.data_checks import Checks
from workbench.pages.data import page as data
from workbench.pages.data.view import (
    DataView,
    OnScreen,
    TreeView,
    data_tick,
    data_view,
    draw_overlay,
    look_at,
)
from workbench.services import Services, make_services
from workbench.session import Overlay, SessionState, TreeChoice
from workbench.ui.views import UNCHANGED, Empty

START = SessionState(page="data")


def content(services: Services, state: SessionState) -> DataView:
    view = data_view(services, state).content()
    assert not isinstance(view, Empty)
    return view


def shown(services: Services, state: SessionState) -> OnScreen:
    """Return the parts time changes, as they are on screen."""
    view = content(services, state).progress
    return OnScreen(
        source_report=view.source.report, target_report=view.target.report, shares=view.shares
    )


def test_data_view__controls_hold_the_toy_data(services: Services, toy_tree: Path) -> None:
    head = data_view(services, START).head
    for tree, name in ((head.source, "urbansyn"), (head.target, "cityscapes")):
        assert tree == TreeView(format=name, root=str(toy_tree / name), split="train")
    assert (head.target_labels, head.busy) == (False, "")


def test_data_view__source_with_labels_and_target_without(services: Services) -> None:
    view = content(services, START)
    assert "instances" in view.source.text
    assert "labels are not opened" in view.target.text
    assert "1 of 4" in view.target.text
    target = look_at(services, START, "target")
    assert target.labels is None
    assert target.image is not None
    np.testing.assert_array_equal(view.target.picture, draw_overlay(target.image, None, "none"))


def test_data_view__target_labels_when_asked_for(services: Services) -> None:
    view = content(services, START.on_data(target_labels=True))
    assert "instances" in view.target.text
    assert "labels are not opened" not in view.target.text


def test_data_view__target_labels_are_not_even_looked_for(tmp_path: Path, toy_tree: Path) -> None:
    root = tmp_path / "toystreets"
    shutil.copytree(toy_tree, root)
    shutil.rmtree(root / "cityscapes" / "gtFine")
    services = make_services(tmp_path / "runs", data_root=root)
    assert content(services, START).target.notice.value == ""
    view = content(services, START.on_data(target_labels=True))
    assert "gtFine" in view.target.notice.value
    assert view.source.notice.value == ""


def test_data_view__wrong_root_is_told_in_its_place(services: Services, tmp_path: Path) -> None:
    wrong = TreeChoice("urbansyn", str(tmp_path / "nowhere"), "train")
    view = content(services, START.on_data(source=wrong))
    assert view.source.notice.value.count(str(tmp_path / "nowhere")) >= 1
    assert view.source.notice.visible
    assert not view.source.bar.visible
    assert not view.colors.shown.visible
    assert view.target.picture is not None


def test_data_view__no_folder_named(services: Services) -> None:
    view = content(services, START.on_data(target=TreeChoice("cityscapes", " ", "train")))
    assert "No images chosen" in view.target.notice.value
    assert not view.progress.target.start.interactive


def test_data_view__damaged_file_can_be_left(tmp_path: Path, toy_tree: Path) -> None:
    root = tmp_path / "toystreets"
    shutil.copytree(toy_tree, root)
    services = make_services(tmp_path / "runs", data_root=root)
    second = look_at(services, START.on_data(source_position=1), "source")
    assert second.tree is not None
    second.tree.records[1].image.write_bytes(b"no picture")
    state = data.move(services, START, "source", 1)
    view = content(services, state)
    assert second.tree.records[1].image.name in view.source.notice.value
    assert view.source.bar.visible
    assert view.source.picture is None
    state = data.move(services, state, "source", 1)
    assert content(services, state).source.picture is not None


def test_move__stays_between_first_and_last(services: Services) -> None:
    places = []
    state = START
    for direction in (-1, 1, 1, 1, 1):
        state = data.move(services, state, "target", direction)
        places.append(state.data.target_position)
    assert places == [0, 1, 2, 3, 3]
    assert state.data.source_position == 0


@pytest.mark.parametrize(("typed", "place"), [(-8, 0), (0, 0), (1, 0), (3, 2), (4, 3), (99, 3)])
def test_at_place__is_among_the_images(services: Services, typed: int, place: int) -> None:
    state = data.at_place(services, START, "target", typed)
    assert (state.data.target_position, state.data.source_position) == (place, 0)


def test_pick_random__another_image(services: Services) -> None:
    state = data.pick_random(services, START, "source")
    assert state.data.source_position in (1, 2, 3)


@pytest.mark.parametrize("by_hand", [True, False])
def test_choose_tree__the_same_images_stay_where_they_are(
    services: Services, toy_tree: Path, by_hand: bool
) -> None:
    tree = TreeChoice("urbansyn", "a" if by_hand else str(toy_tree / "urbansyn"), "train")
    state = START.on_data(source=tree) if by_hand else START
    state = state.on_data(source_position=3)
    assert data.choose_tree(services, state, "source", tree) is state
    other = TreeChoice("urbansyn", "b", "train")
    assert data.choose_tree(services, state, "source", other).data.source_position == 0


@pytest.mark.parametrize(
    ("overlay", "drawn"),
    [("instances", True), ("boxes", True), ("none", False)],
)
def test_draw_overlay__class_colours(overlay: Overlay, drawn: bool) -> None:
    image = np.full((64, 128, 3), 90, dtype=np.uint8)
    ids = np.zeros((64, 128), dtype=np.int32)
    ids[20:40, 20:60] = 1
    labels = LabelArrays(ids, np.array([2]), np.zeros((64, 128), dtype=np.uint8))
    picture = draw_overlay(image, labels, overlay)
    assert (picture == np.array(CLASS_COLORS[2])).all(axis=-1).any() == drawn


def test_data_view__legend_follows_the_overlay(services: Services) -> None:
    legends = {
        name: content(services, START.on_data(overlay=name)).legend
        for name in ("none", "semantic", "ignore")
    }
    assert legends["none"] == ""
    assert "road" in legends["semantic"]
    assert "ignored object" in legends["ignore"]
    assert "#{:02x}{:02x}{:02x}".format(*IGNORED_OBJECT_COLOR) in legends["ignore"]


def test_data_tick__counting_ends_on_screen(services: Services) -> None:
    first = shown(services, START)
    deadline = time.monotonic() + 20
    update = data_tick(services, START, first)
    while "human-cycle" not in getattr(update, "shares", first.shares):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        update = data_tick(services, START, first)
    last = shown(services, START)
    assert "human-cycle" in last.shares
    assert data_tick(services, START, last) is UNCHANGED


def test_check__starts_and_reports_on_its_own_side(services: Services, runs_root: Path) -> None:
    report = "{'images': 4, 'findings': []}".replace("'", '\\"')
    fake = Checks(runs_root, checker=(sys.executable, "-c", f'print("{report}")'))
    ref = services.data_sets.ref(START, "target")
    assert ref is not None
    fake.start(ref)
    deadline = time.monotonic() + 20
    while fake.look(ref).state == "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    view = content(services, START)
    assert "sound" in view.progress.target.report
    assert "not checked" in view.progress.source.report


def test_check__needs_a_folder(services: Services) -> None:
    state = START.on_data(source=TreeChoice("urbansyn", "", "train"))
    with pytest.raises(UserError, match="must be named"):
        data.ask(services, state, "source", services.checks.start)
