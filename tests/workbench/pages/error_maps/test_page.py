from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from uda4inst.data.readers.cityscapes import Cityscapes
from uda4inst.errors import UserError
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.image_list import ImageList
from workbench.pages.error_maps import page as error_maps
from workbench.pages.error_maps.choice import ordered, sides
from workbench.pages.error_maps.page import at_place, error_tick
from workbench.pages.error_maps.view import ErrorView, error_view
from workbench.pages.train.monitor import run_table
from workbench.services import Services, make_services
from workbench.session import SessionState
from workbench.stores import background
from workbench.stores.evaluations import Evaluated, PredictionSet
from workbench.ui.views import UNCHANGED, Empty, Framed

DEMO = SessionState(page="error_maps", run="demo")


def shown(services: Services, state: SessionState) -> ErrorView:
    view = error_view(services, state).content()
    assert not isinstance(view, Empty)
    return view


def nothing(services: Services, state: SessionState) -> str:
    """Return why there is nothing to show."""
    view = error_view(services, state).content()
    assert isinstance(view, Empty)
    return view.message


@pytest.fixture
def run(write_run: Callable[..., Path], toy_tree: Path) -> Path:
    return write_run(steps=40, tree=toy_tree / "cityscapes")


def test_sides__newest_teacher_and_no_second(services: Services, run: Path) -> None:
    assert sides(services, DEMO) == (Evaluated("demo", 40, "teacher"), None)


def test_sides__unknown_step_or_network_fall_back(services: Services, run: Path) -> None:
    state = DEMO.on_errors(step=7, network="oracle", other_run="demo", other_network="student")
    assert sides(services, state) == (
        Evaluated("demo", 40, "teacher"),
        Evaluated("demo", 40, "student"),
    )


def test_error_view__one_side(services: Services, run: Path) -> None:
    view = shown(services, DEMO)
    assert view.prediction_a.shape == view.errors_a.shape == view.truth.shape
    assert view.prediction_b is None
    for word in ("1 of 4", "all classes", "0.5", "Cityscapes val"):
        assert word in view.facts
    for word in ("demo", "teacher", "40", "px wrong", "AP 33.0", "0123456789ab"):
        assert word in view.title_a


def test_error_view__two_sides(services: Services, run: Path) -> None:
    state = DEMO.on_errors(other_run="demo", other_network="student", order="worse than B")
    view = shown(services, state)
    assert view.errors_b is not None
    assert view.errors_b.shape == view.errors_a.shape
    assert "student" in view.title_b
    assert not np.array_equal(view.errors_a, view.errors_b)


def set_images(run: Path, names: str, images: int) -> None:
    """Have an evaluation say that it judged other images."""
    path = run / "evaluation" / "00000040.json"
    changed = {"images": images, "image_names": names}
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_error_view__scores_over_other_images_are_made_anew_on_those_of_both(
    services: Services, run: Path, write_run: Callable[..., Path], factories: Any, toy_tree: Path
) -> None:
    tree = toy_tree / "cityscapes"
    other = write_run("other", steps=40, tree=tree)
    state = DEMO.on_errors(other_run="other", network="student", other_network="student")
    alike = shown(services, state)
    for title in (alike.title_a, alike.title_b):
        assert "AP 31.0 (Cityscapes protocol, student, step 40, 4 of 8 images" in title
        assert "evaluated images" in title
    factories.write_predictions(other, 40, "student", tree, limit=2)
    set_images(other, "1" * 16, 2)
    # Worse than B lists the images of both alone.
    apart = shown(services, state.on_errors(order="worse than B"))
    dataset = Cityscapes(tree, "val")
    both = ImageList(tuple(dataset.basename(index) for index in range(2)))
    for title, folder in ((apart.title_a, run), (apart.title_b, other)):
        path = folder / "evaluation" / "predictions" / "00000040" / "student.jsonl.gz"
        expected = evaluate_predictions(path, dataset, protocols=["cityscapes"], only=both)
        ap = 100 * expected["cityscapes"]["AP"]
        assert f"AP {ap:.1f} (Cityscapes protocol, student, step 40, 2 of 4 images" in title
        assert "images of both" in title


def test_error_view__networks_judged_on_other_data_are_not_compared(
    services: Services, run: Path, write_run: Callable[..., Path], toy_tree: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "copy"
    shutil.copytree(toy_tree / "cityscapes", elsewhere)
    set_images(write_run("other", steps=40, tree=elsewhere), "1" * 16, 4)
    view = shown(services, DEMO.on_errors(other_run="other"))
    for title in (view.title_a, view.title_b):
        assert "not compared: the two share no judged image" in title
        assert "AP" not in title


def test_run_table__scores_over_other_images_are_said_to_be_no_ranking(
    services: Services, run: Path, write_run: Callable[..., Path], toy_tree: Path
) -> None:
    other = write_run("other", steps=40, tree=toy_tree / "cityscapes")
    table = run_table(services.runs.summaries(), chosen=None)
    assert table.count("<small>Cityscapes, step 40, 4 of 8 images</small>") == 2
    assert "no ranking" not in table
    set_images(other, "1" * 16, 2)
    table = run_table(services.runs.summaries(), chosen=None)
    assert "Cityscapes, step 40, 2 of 8 images" in table
    assert "no ranking" in table


def test_error_view__class_filter_shows_that_class_alone(services: Services, run: Path) -> None:
    everything = shown(services, DEMO)
    car = shown(services, DEMO.on_errors(class_name="car"))
    assert "car" in car.facts
    assert "AP 33.0" in car.title_a
    assert not np.array_equal(car.errors_a, everything.errors_a)


def test_error_view__class_without_ground_truth_has_no_ap(services: Services, run: Path) -> None:
    view = shown(services, DEMO.on_errors(class_name="train"))
    assert "AP" not in view.title_a


def test_error_view__threshold_drops_detections(services: Services, run: Path) -> None:
    none = shown(services, DEMO.on_errors(score_threshold=0.999))
    assert "(0 invented" in none.title_a


def test_error_view__worse_than_b_needs_a_b(services: Services, run: Path) -> None:
    state = DEMO.on_errors(other_run="demo", other_network="student", order="worse than B")
    assert "worse than B first" in shown(services, state).facts
    assert "worst first" in shown(services, state.on_errors(other_run=None)).facts


def test_error_tick__follows_the_newest_evaluation_of_either_side(
    services: Services, run: Path, write_run: Callable[..., Path], toy_tree: Path
) -> None:
    write_run("other", steps=30, tree=toy_tree / "cityscapes")
    state = DEMO.on_errors(other_run="other")
    assert error_tick(services, state, 40, 30, "") is UNCHANGED
    assert isinstance(error_tick(services, state, 40, 20, ""), Framed)
    assert isinstance(error_tick(services, state, 20, 30, ""), Framed)
    assert error_tick(services, DEMO, 40, None, "") is UNCHANGED


@pytest.mark.parametrize(("typed", "place"), [(-8, 0), (0, 0), (1, 0), (3, 2), (4, 3), (99, 3)])
def test_at_place__is_among_the_images(
    services: Services, run: Path, typed: int, place: int
) -> None:
    state = at_place(services, DEMO.on_errors(position=1), typed)
    assert state.errors.position == place
    assert f"{place + 1} of 4" in shown(services, state).facts


def test_error_view__position_beyond_the_last_is_the_last(services: Services, run: Path) -> None:
    view = shown(services, DEMO.on_errors(position=99))
    assert "4 of 4" in view.facts


def test_ordered__worst_first_and_moves_through_it(services: Services, run: Path) -> None:
    assert len(ordered(services, DEMO)) == 4
    state = error_maps._move(services, DEMO, 1)
    assert state.errors.position == 1
    assert error_maps._move(services, DEMO, -1).errors.position == 0
    assert error_maps._move(services, DEMO.on_errors(position=3), 1).errors.position == 3


def test_error_view__no_evaluation_says_how_to_get_one(
    services: Services, write_run: Callable[..., Path]
) -> None:
    write_run(steps=4, state="stopped")
    assert "uda4inst evaluate" in nothing(services, DEMO)
    assert "No run yet" in nothing(services, SessionState())


def test_error_view__a_run_that_was_deleted_says_so(services: Services) -> None:
    assert "The run lost is gone" in nothing(services, SessionState(run="lost"))


def test_error_view__image_of_one_side_only_is_told(
    services: Services, run: Path, write_run: Callable[..., Path], factories: Any, toy_tree: Path
) -> None:
    other = write_run("other", steps=40, tree=toy_tree / "cityscapes")
    for network in ("student", "teacher"):
        factories.write_predictions(other, 40, network, toy_tree / "cityscapes", limit=1)
    state = DEMO.on_errors(other_run="other")
    positions = range(4)
    told = 0
    for position in positions:
        try:
            shown(services, state.on_errors(position=position))
        except UserError as error:
            told += "predictions must cover image" in str(error)
    assert told == 3
    assert len(ordered(services, state.on_errors(order="worse than B"))) == 1


PEOPLE = "person-rider-motorcycle-bicycle"
MODULE = f"demo/modules/{PEOPLE}"


def test_error_view__all_groups_first_then_each(
    services: Services, write_grouped_run: Callable[..., Path], toy_tree: Path
) -> None:
    write_grouped_run(tree=toy_tree / "cityscapes", merged=True)
    framed = error_view(services, DEMO)
    choice = framed.head.group
    assert [value for _, value in choice.choices] == ["all groups", PEOPLE, "car-truck-bus-train"]
    assert (choice.value, choice.visible) == ("all groups", True)
    assert [value for _, value in framed.head.other_run.choices][:3] == ["none", "demo", MODULE]
    assert "all groups" in shown(services, DEMO).title_a
    alone = shown(services, DEMO.on_errors(group=PEOPLE, other_run="demo"))
    assert sides(services, DEMO.on_errors(group=PEOPLE))[0] == Evaluated(MODULE, 120, "teacher")
    assert "person, rider, motorcycle, bicycle" in alone.title_a
    assert "all of this group (person, rider" in alone.facts
    assert "all groups" in alone.title_b
    car = DEMO.on_errors(group=PEOPLE, class_name="car")
    assert "car (not learned by this group)" in shown(services, car).facts


def test_error_view__before_the_groups_are_merged(
    services: Services, write_grouped_run: Callable[..., Path], toy_tree: Path
) -> None:
    write_grouped_run(tree=toy_tree / "cityscapes", modules=({}, None))
    framed = error_view(services, DEMO)
    assert framed.head.row.visible
    assert "choose a category group above" in nothing(services, DEMO)
    waiting = nothing(services, DEMO.on_errors(group="car-truck-bus-train"))
    assert "No evaluation of car, truck, bus, train yet" in waiting
    assert sides(services, DEMO.on_errors(group=PEOPLE))[0] is not None


def test_error_view__one_network_has_no_choice_of_group(services: Services, run: Path) -> None:
    assert not error_view(services, DEMO.on_errors(group=PEOPLE)).head.group.visible
    assert sides(services, DEMO.on_errors(group=PEOPLE))[0] == Evaluated("demo", 40, "teacher")


def test_ordered__images_of_a_list_alone(services: Services, run: Path) -> None:
    every = list(ordered(services, DEMO))
    listed = services.runs.root / "two.txt"
    listed.write_text(f"# chosen\n{every[3]}\n{every[1]}\n")
    state = DEMO.on_errors(images=str(listed))
    assert ordered(services, state) == [every[1], every[3]]
    view = shown(services, state)
    assert "1 of 2" in view.facts
    assert str(listed) in view.facts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("stranger\n", "image list must name images of the data set", id="strangers"),
        pytest.param("# nothing\n", "image list must name an image, got none", id="empty"),
        pytest.param(None, "image list must be a readable text file", id="no file"),
    ],
)
def test_error_view__wrong_list_is_one_message(
    services: Services, run: Path, text: str | None, words: str
) -> None:
    path = services.runs.root / "list.txt"
    if text is not None:
        path.write_text(text)
    state = DEMO.on_errors(images=str(path))
    assert error_view(services, state).head.images.value == str(path)
    with pytest.raises(UserError, match=words):
        error_view(services, state).content()


def test_ordered__list_outside_the_folders_of_the_app_is_not_opened(
    services: Services, run: Path
) -> None:
    with pytest.raises(UserError, match="image list must lie in one of the app's folders"):
        ordered(services, DEMO.on_errors(images="/etc/passwd"))


def test_controls__offer_the_lists_that_fiftyone_wrote(
    services: Services, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fiftyone" / "lists"
    folder.mkdir(parents=True)
    (folder / "hard ones.txt").write_text("a\n")
    monkeypatch.chdir(tmp_path)
    choices = error_view(services, DEMO).head.images.choices
    assert choices[1] == ("hard ones.txt", "fiftyone/lists/hard ones.txt")


def test_controls__offer_lists_that_are_written_while_the_page_is_open(
    app: gr.Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = {event.api_name: event for event in app.fns.values()}
    listed = events["error_maps_list_images"]
    assert listed.fn is not None
    (images,) = listed.outputs
    assert (images.elem_id, listed.targets) == ("error-maps-images", [(images._id, "focus")])
    monkeypatch.chdir(tmp_path)
    for name in ("early", "late"):
        path = tmp_path / "fiftyone" / "lists" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a\n")
        update = listed.fn()
        assert (f"{name}.txt", f"fiftyone/lists/{name}.txt") in update.choices
        assert update.choices[0] == ("all images", "all images")
        assert "value" not in update._constructor_args[0]  # what is half typed stays


def test_error_view__says_how_far_it_is_while_images_are_judged(
    run: Path, toy_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, read = threading.Event(), PredictionSet.read_truth

    def slowly(found: PredictionSet, name: str) -> Any:
        if name != next(iter(found.images)):
            go.wait(20)
        return read(found, name)

    monkeypatch.setattr(background, "_PATIENCE", 0.05)
    monkeypatch.setattr(PredictionSet, "read_truth", slowly)
    services = make_services(run.parent, data_root=toy_tree)
    end = time.monotonic() + 20
    while "teacher of demo at step 40: 1 of 4 images" not in (said := nothing(services, DEMO)):
        assert error_maps.is_judging(said)
        assert time.monotonic() < end, said
    assert error_maps._move(services, DEMO, 1) == DEMO
    go.set()
    while isinstance(error_view(services, DEMO).content(), Empty):
        assert time.monotonic() < end
    assert "2 of 4" in shown(services, error_maps._move(services, DEMO, 1)).facts
