from __future__ import annotations

import copy

from workbench.session import DataChoice, SessionState, TreeChoice


def test_session__is_a_value() -> None:
    one = SessionState().on_run("a").on_snapshot(100).on_item(1).on_errors(class_name="car")
    assert copy.deepcopy(one) == one
    assert len({one, copy.deepcopy(one)}) == 1


def test_on_run__forgets_choices_that_belong_to_a_run() -> None:
    one = SessionState(page="pool").on_run("a").on_snapshot(5).on_item(1).on_threshold(0.4)
    one = one.on_errors(step=7, class_name="bus", other_run="c")
    two = one.on_run("b")
    assert (two.page, two.run, two.snapshot, two.item) == ("pool", "b", None, 0)
    assert two.score_threshold is None
    assert (two.errors.step, two.errors.class_name, two.errors.other_run) == (None, "bus", "c")


def test_on_run__the_same_run_forgets_nothing() -> None:
    one = SessionState().on_run("a").on_snapshot(5).on_threshold(0.4).on_errors(step=7, position=3)
    assert one.on_run("a") == one


def test_on_errors__the_same_choice_keeps_the_image() -> None:
    one = SessionState().on_errors(class_name="rider").on_errors(position=4)
    assert one.on_errors(class_name="rider", order="worst") == one


def test_on_errors__another_choice_begins_at_its_first_image() -> None:
    one = SessionState().on_errors(position=4)
    assert one.errors.position == 4
    assert one.on_errors(class_name="rider").errors.position == 0


def test_on_data__other_images_begin_at_their_first() -> None:
    one = SessionState().on_data(source_position=4, target_position=5)
    two = one.on_data(target=TreeChoice("cityscapes", "city", "val"))
    assert (two.data.source_position, two.data.target_position) == (4, 0)


def test_on_run__shows_the_data_of_the_run() -> None:
    one = SessionState().on_data(source=TreeChoice("urbansyn", "a", "train"), overlay="boxes")
    assert one.on_data(target_labels=True).on_run("b").data == DataChoice(overlay="boxes")


def test_on_group__keeps_the_step_and_outlives_another_run() -> None:
    one = SessionState(run="a").on_snapshot(8).on_group("car-bus")
    assert (one.group, one.snapshot) == ("car-bus", 8)
    two = one.on_errors(group="car-bus").on_run("b")
    assert (two.group, two.snapshot, two.errors.group) == ("car-bus", None, None)
