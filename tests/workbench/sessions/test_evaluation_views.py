"""Saved views of an evaluation show its errors, and no view is empty."""

from __future__ import annotations

from pathlib import Path

import inspection
import numpy as np
import pytest
from random_detections import draw

inspection.require_database()

from uda4inst.data.readers import UrbanSyn
from uda4inst.errors import UserError
from workbench.sessions import evaluation
from workbench.sessions.convert import to_predictions
from workbench.sessions.data_session import open_data_session
from workbench.sessions.evaluation_views import BY_ERROR, save_evaluation_views
from workbench.sessions.library import fo
from workbench.sessions.request import request_tree

pytestmark = pytest.mark.inspection


@pytest.fixture(scope="module")
def dataset(toy: Path) -> fo.Dataset:
    """A session with detections, judged."""
    tree, rng = UrbanSyn(toy / "urbansyn"), np.random.default_rng(3)
    made = open_data_session(request_tree("urbansyn", toy / "urbansyn", limit=6)).dataset
    drawn = [draw(tree, index, rng) for index in range(len(tree))]
    fields = {image.sample_id: to_predictions(image) for image in drawn}
    names = made.values("image_name")
    made.set_values("predictions", [fields[name] for name in names])
    made.evaluate_detections("predictions", eval_key="ours", method=evaluation.CITYSCAPES)
    return made


def test_views__images_by_error_begin_with_the_most(dataset: fo.Dataset) -> None:
    names = save_evaluation_views(dataset, "ours")
    view = dataset.load_saved_view(f"ours: {BY_ERROR}")
    errors = np.add(view.values("ours_fp"), view.values("ours_fn")).tolist()
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0
    assert set(names) <= set(dataset.list_saved_views())


def test_views__hold_all_misses_and_false_positives_by_class(dataset: fo.Dataset) -> None:
    names = save_evaluation_views(dataset, "ours")
    for words, field, count in (
        ("misses", "ground_truth", "ours_fn"),
        ("false positives", "predictions", "ours_fp"),
    ):
        found = 0
        for name in (name for name in names if f": {words} of " in name):
            view = dataset.load_saved_view(name)
            assert view.distinct(f"{field}.detections.label") == [name.rsplit(" of ", 1)[1]]
            assert view.distinct(f"{field}.detections.ours") == [count[-2:]]
            found += view.count(f"{field}.detections")
        assert found == dataset.sum(count)


def test_views__kinds_of_errors_show_these_alone(dataset: fo.Dataset) -> None:
    names = save_evaluation_views(dataset, "ours")
    assert "ours: missed" in names
    view = dataset.load_saved_view("ours: on nothing")
    assert view.count("ground_truth.detections") == 0
    assert view.distinct("predictions.detections.ours_error") == ["on nothing"]
    shown = sum(
        dataset.load_saved_view(name).count(f"{field}.detections")
        for name in names
        if name.split(": ")[1] in evaluation.outcomes.ERROR_KINDS
        for field in ("ground_truth", "predictions")
    )
    assert shown == dataset.sum("ours_fp") + dataset.sum("ours_fn")


def test_views__saved_again_replace_their_own_alone(dataset: fo.Dataset) -> None:
    dataset.save_view("mine", dataset.limit(1), overwrite=True)
    dataset.save_view("ours: duplicate", dataset.limit(1), overwrite=True)
    once = save_evaluation_views(dataset, "ours")
    before = set(dataset.list_saved_views())
    assert save_evaluation_views(dataset, "ours") == once
    assert set(dataset.list_saved_views()) == before
    assert "mine" in before


def test_views__unknown_evaluation_names_the_near_one(dataset: fo.Dataset) -> None:
    with pytest.raises(UserError, match=r"got 'our'\. Did you mean ours\?"):
        save_evaluation_views(dataset, "our")


def test_open__built_again_knows_no_evaluation_of_the_samples_before(dataset: fo.Dataset) -> None:
    names = save_evaluation_views(dataset, "ours")
    tree = Path(dataset.info["uda4inst"]["domains"]["source"]["root"])
    again = open_data_session(request_tree("urbansyn", tree, limit=6), fresh=True).dataset
    assert again.list_evaluations() == []
    assert not set(names) & set(again.list_saved_views())
