"""Error maps of a run that predicts the class of every pixel: all cars are taken for road."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from semantic_run import STEP, write_semantic_run

from uda4inst.colors import ERROR_COLORS, RIGHT, WRONG
from uda4inst.data.readers import Cityscapes
from uda4inst.evaluation.error_maps import ErrorIndex
from uda4inst.evaluation.semantic_errors import ERROR_CLASSES
from uda4inst.tasks.semantic import Semantic
from workbench.pages.error_maps.choice import class_names, ordered, sides
from workbench.pages.error_maps.confusions import confusions
from workbench.pages.error_maps.view import ErrorView, error_view
from workbench.pages.train.monitor import run_table
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.evaluations import Evaluated
from workbench.ui.views import Empty

DEMO = SessionState(page="error_maps", run="pixels")
ROAD, CAR = ERROR_CLASSES.index("road"), ERROR_CLASSES.index("car")


def shown(services: Services, state: SessionState) -> ErrorView:
    view = error_view(services, state).content()
    assert isinstance(view, ErrorView)
    return view


@pytest.fixture
def run(runs_root: Path, factories: ModuleType, toy_tree: Path) -> Path:
    config = factories.make_config("pixels")
    return write_semantic_run(runs_root, "pixels", config, toy_tree / "cityscapes")


@pytest.fixture
def cars(toy_tree: Path) -> dict[str, int]:
    """Car pixels of every image."""
    dataset = Cityscapes(toy_tree / "cityscapes", "val")
    names = [dataset.basename(i) for i in range(len(dataset))]
    return {name: int((dataset.read_semantic(i) == 13).sum()) for i, name in enumerate(names)}


def share(picture: np.ndarray, code: int) -> float:
    return float((picture == np.array(ERROR_COLORS[code])).all(axis=-1).mean())


def test_sides__the_stored_maps_are_found(services: Services, run: Path) -> None:
    assert sides(services, DEMO) == (Evaluated("pixels", STEP, "student"), None)
    assert class_names(services, DEMO) == ERROR_CLASSES
    assert len(set(ERROR_CLASSES)) == 19


def test_ordered__most_wrong_pixels_first(
    services: Services, run: Path, cars: dict[str, int]
) -> None:
    assert list(ordered(services, DEMO)) == sorted(cars, key=lambda name: (-cars[name], name))
    index = services.evaluations.index(Evaluated("pixels", STEP, "student"), 0.5)
    for name, of_car, of_road, of_all in zip(
        index.sample_ids, index.errors(CAR), index.errors(ROAD), index.errors(), strict=True
    ):
        assert (of_car.false_negative_pixels, of_car.right_pixels) == (cars[name], 0)
        assert of_road.false_positive_pixels == cars[name]
        assert of_all.wrong_pixels == cars[name]
        assert of_all.right_pixels > 0


def test_error_view__right_and_wrong_by_class(services: Services, run: Path) -> None:
    record = json.loads((run / "evaluation" / f"{STEP:08d}.json").read_text())
    scores = record["results"]["student"]["pixels"]
    whole = shown(services, DEMO)
    assert whole.prediction_a.shape == whole.errors_a.shape == whole.truth.shape
    assert f"mIoU {100 * scores['mIoU']:.1f} (Cityscapes pixel protocol" in whole.title_a
    assert "score threshold" not in whole.facts
    car = shown(services, DEMO.on_errors(class_name="car"))
    assert "IoU 0.0" in car.title_a
    assert ", 0 right" in car.title_a
    assert "car" in car.facts
    road = shown(services, DEMO.on_errors(class_name="road"))
    assert f"IoU {100 * scores['per_class']['road']['IoU']:.1f}" in road.title_a
    assert not np.array_equal(road.truth, whole.truth)


def test_error_view__says_what_is_taken_for_what(
    services: Services, run: Path, cars: dict[str, int], toy_tree: Path
) -> None:
    worst = min(cars, key=lambda name: (-cars[name], name))
    text = shown(services, DEMO).confusions
    everything = sum(cars.values())
    assert (
        f"Of the {cars[worst]:,} pixels of car, 100.0 % were called road ({cars[worst]:,} pixels; "
        f"image {worst})."
    ) in text
    assert (
        f"Of the {everything:,} pixels of car, 100.0 % were called road ({everything:,} pixels; "
        f"all {len(cars)} evaluated images of Cityscapes val)."
    ) in text
    dataset = Cityscapes(toy_tree / "cityscapes", "val")
    maps = [dataset.read_semantic(i) for i in range(len(dataset))]
    roads = sum(int((ids == 0).sum()) for ids in maps)
    assert f"Of the {roads:,} pixels of road, 100.0 % were rightly called road ({roads:,}" in text
    assert f"<b>{sum(int((ids != 255).sum()) for ids in maps):,} judged pixels</b>" in text
    assert text.count("<li>") == 2  # nothing else is wrong
    assert f"A, pixels, student at step {STEP}" in text
    only = shown(services, DEMO.on_errors(class_name="car")).confusions
    assert "pixels of car, 100.0 % were called road" in only
    assert "pixels of road" not in only


def test_error_view__both_sides_say_what_they_take_for_what(services: Services, run: Path) -> None:
    text = shown(services, DEMO.on_errors(other_run="pixels")).confusions
    assert text.count("what is taken for what") == 2
    assert f"B, pixels, student at step {STEP}" in text


def test_confusions__shares_are_of_the_true_class() -> None:
    counts = np.zeros((2, 20, 20), dtype=np.int64)
    counts[0, CAR + 1, CAR + 1], counts[0, CAR + 1, ROAD + 1], counts[0, CAR + 1, 0] = 60, 30, 10
    counts[1, ROAD + 1, CAR + 1] = 7
    index = ErrorIndex(("one", "other"), counts, score_threshold=0.0)
    text = confusions(index, "one", side="A", data="Cityscapes val", thing=None)
    assert "Of the 100 pixels of car, 30.0 % were called road (30 pixels; image one)." in text
    assert "Of the 100 pixels of car, 10.0 % were called no class (10 pixels; image one)." in text
    assert "Of the 7 pixels of road, 100.0 % were called car (7 pixels; all 2 evaluated" in text
    assert "of road" not in text.partition("<section>")[2].partition("</section>")[0]
    alone = confusions(index, "one", side="A", data="Cityscapes val", thing=ROAD)
    assert "image one has none of road" in alone
    unknown = confusions(index, "third", side="A", data="Cityscapes val", thing=None)
    assert unknown.count("<section>") == 1


def test_error_view__of_instances_nothing_is_taken_for_anything(
    services: Services, write_run: Callable[..., Path], toy_tree: Path
) -> None:
    write_run("demo", steps=40, tree=toy_tree / "cityscapes")
    assert shown(services, SessionState(page="error_maps", run="demo")).confusions == ""


def test_error_view__only_runs_of_one_kind_are_compared(
    services: Services, run: Path, write_run: Callable[..., Path], toy_tree: Path
) -> None:
    write_run("demo", steps=40, tree=toy_tree / "cityscapes")
    a, b = sides(services, DEMO.on_errors(other_run="demo"))
    assert (a is not None, b) == (True, None)
    # Gradio warns of a value that is no choice.
    choice = error_view(services, DEMO.on_errors(other_run="demo")).head.other_run
    assert [choice.postprocess(choice.value), *(value for _, value in choice.choices)] == [
        "none", "none", "pixels",
    ]  # fmt: skip
    # A class that only semantic maps have is no choice for instances.
    instances = SessionState(page="error_maps", run="demo").on_errors(class_name="road")
    assert "all classes" in shown(services, instances).facts


def test_run_table__names_the_measure(services: Services, run: Path) -> None:
    record = json.loads((run / "evaluation" / f"{STEP:08d}.json").read_text())
    value = record["results"]["student"]["pixels"]["mIoU"]
    table = run_table([services.runs.summary("pixels")], chosen=None)
    assert "mIoU student" in table
    assert f"{100 * value:.1f}" in table


def test_error_colors__are_those_of_the_legend(services: Services, run: Path) -> None:
    overlay = shown(services, DEMO.on_errors(class_name="car")).errors_a
    assert share(overlay, RIGHT) == 0
    assert ERROR_COLORS[WRONG] != ERROR_COLORS[RIGHT]


def test_error_view__of_a_task_that_is_drawn_nowhere_says_so(
    services: Services, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Semantic(name="depth", predictions_kind=None)
    monkeypatch.setattr(services.runs, "task", lambda _name: other)
    view = error_view(services, DEMO).content()
    assert isinstance(view, Empty)
    assert "No error maps of depth" in view.message
