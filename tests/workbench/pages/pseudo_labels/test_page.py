from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uda4inst.colors import DROPPED_COLOR
from workbench.pages.pseudo_labels import page as pseudo_labels
from workbench.services import Services
from workbench.session import SessionState
from workbench.ui.edge import Empty

DEMO = SessionState(run="demo")


@pytest.fixture
def read(services: Services, write_run: Callable[..., Path], factories: Any) -> Any:
    run = write_run(steps=4)

    def make(**options: Any) -> Any:
        factories.write_snapshot(run, 100, **options)
        return services.snapshots.read("demo", 100)

    return make


def totals(view: Any) -> list[int]:
    """Return kept, dropped and kept in training over all classes."""
    return [int(n) for n in re.findall(r"<b>(\d+)</b>", view.table)]


def test_draw__training_keeps_what_it_kept(services: Services, read: Any) -> None:
    snapshot = read()
    view = pseudo_labels.draw(services, DEMO, snapshot, 0)
    kept, dropped, trained = totals(view)
    assert kept == trained <= sum(snapshot.items[0].kept)
    assert kept + dropped == len(snapshot.items[0].candidates)
    assert view.slider.value == 0.9


def test_draw__lower_threshold_keeps_more(services: Services, read: Any) -> None:
    snapshot = read()
    low, high = (
        totals(pseudo_labels.draw(services, DEMO.on_threshold(t), snapshot, 0)) for t in (0.3, 0.95)
    )
    assert low[0] > high[0]
    assert low[2] == high[2]


def test_draw__dropped_are_dashed_and_go_with_the_threshold(services: Services, read: Any) -> None:
    def dashes(threshold: float) -> int:
        view = pseudo_labels.draw(services, DEMO.on_threshold(threshold), read(), 0)
        return int((view.picture == np.array(DROPPED_COLOR)).all(axis=-1).sum())

    assert dashes(0.99) > dashes(0.05)


def test_draw__slider_under_a_finger_is_left_alone(services: Services, read: Any) -> None:
    view = pseudo_labels.draw(services, DEMO.on_threshold(0.5), read(), 0)
    assert not hasattr(view.slider, "value")


def test_draw__curve_marks_both_thresholds(services: Services, read: Any) -> None:
    view = pseudo_labels.draw(services, DEMO.on_threshold(0.5), read(), 0)
    assert "training 0.9" in view.curve
    assert "score threshold" in view.curve


def test_draw__unsure_is_ignored_and_not_dropped(services: Services, read: Any) -> None:
    plain = pseudo_labels.draw(services, DEMO.on_threshold(0.95), read(), 0)
    view = pseudo_labels.draw(services, DEMO.on_threshold(0.95), read(unsure_threshold=0.3), 0)
    kept, ignored, dropped, _ = totals(view)
    assert ignored > 0
    assert [kept, ignored + dropped] == totals(plain)[:2]
    assert "ignored: unsure" in view.legend
    assert "scores more than 0.3" in view.table
    assert "ignored" not in plain.legend + plain.table
    assert not np.array_equal(view.picture, plain.picture)


def test_draw__slivers_are_counted(services: Services, read: Any) -> None:
    plain = pseudo_labels.draw(services, DEMO.on_threshold(0.1), read(), 0)
    view = pseudo_labels.draw(services, DEMO.on_threshold(0.1), read(min_visible_share=0.5), 0)
    assert totals(view)[0] < totals(plain)[0]
    assert "less than 50% is left to see" in view.table


def test_draw__thresholds_of_classes_stand_beside_what_training_kept(
    services: Services, read: Any
) -> None:
    one = read(class_thresholds={"person": 0.9, "car": 0.9})
    assert "kept in training (0.9)" in pseudo_labels.draw(services, DEMO, one, 0).table
    several = read(class_thresholds={"person": 0.64, "car": 0.9})
    table = pseudo_labels.draw(services, DEMO, several, 0).table
    assert "threshold of the class" in table
    assert "(&gt; 0.64)" in table or "(> 0.64)" in table


def test_draw__stage_1_has_none(services: Services, read: Any) -> None:
    view = pseudo_labels.draw(services, DEMO, read(stage=1), 0)
    assert isinstance(view, Empty)
    assert "No pseudo-labels at this step" in view.message
