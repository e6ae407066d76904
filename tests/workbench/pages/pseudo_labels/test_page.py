from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from uda4inst.colors import DROPPED_COLOR
from workbench.pages.pseudo_labels import page as pseudo_labels
from workbench.pages.pseudo_labels.inspection import inspected
from workbench.pages.pseudo_labels.page import ThresholdView
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.snapshots import Snapshot
from workbench.ui.views import Empty

DEMO = SessionState(run="demo")


Read = Callable[..., Snapshot]


@pytest.fixture
def read(services: Services, write_run: Callable[..., Path], factories: ModuleType) -> Read:
    run = write_run(steps=4)

    def make(**options: object) -> Snapshot:
        factories.write_snapshot(run, 100, **options)
        return services.snapshots.read("demo", 100)

    return make


def draw(services: Services, state: SessionState, snapshot: Snapshot) -> ThresholdView:
    view = pseudo_labels.draw(services, state, snapshot, 0)
    assert not isinstance(view, Empty)
    return view


def totals(view: ThresholdView) -> list[int]:
    """Return kept, dropped and kept in training over all classes."""
    return [int(n) for n in re.findall(r"<b>(\d+)</b>", view.table)]


def test_draw__training_keeps_what_it_kept(services: Services, read: Read) -> None:
    snapshot = read()
    view = draw(services, DEMO, snapshot)
    kept, dropped, trained = totals(view)
    assert kept == trained <= sum(snapshot.items[0].kept)
    assert kept + dropped == len(snapshot.items[0].candidates)
    assert view.threshold == 0.9


def test_draw__lower_threshold_keeps_more(services: Services, read: Read) -> None:
    snapshot = read()
    low, high = (totals(draw(services, DEMO.on_threshold(t), snapshot)) for t in (0.3, 0.95))
    assert low[0] > high[0]
    assert low[2] == high[2]


def test_draw__dropped_are_dashed_and_go_with_the_threshold(services: Services, read: Read) -> None:
    def dashes(threshold: float) -> int:
        view = draw(services, DEMO.on_threshold(threshold), read())
        return int((view.picture == np.array(DROPPED_COLOR)).all(axis=-1).sum())

    assert dashes(0.99) > dashes(0.05)


def test_draw__slider_stands_where_it_was_put(services: Services, read: Read) -> None:
    assert draw(services, DEMO.on_threshold(0.5), read()).threshold == 0.5


def test_draw__curve_marks_both_thresholds(services: Services, read: Read) -> None:
    view = draw(services, DEMO.on_threshold(0.5), read())
    assert "training 0.9" in view.curve
    assert "score threshold" in view.curve


def test_draw__unsure_is_ignored_and_not_dropped(services: Services, read: Read) -> None:
    plain = draw(services, DEMO.on_threshold(0.95), read())
    view = draw(services, DEMO.on_threshold(0.95), read(unsure_threshold=0.3))
    kept, ignored, dropped, _ = totals(view)
    assert ignored > 0
    assert [kept, ignored + dropped] == totals(plain)[:2]
    assert "ignored: unsure" in view.legend
    assert "scores more than 0.3" in view.table
    assert "ignored" not in plain.legend + plain.table
    assert not np.array_equal(view.picture, plain.picture)


def test_draw__slivers_are_counted(services: Services, read: Read) -> None:
    plain = draw(services, DEMO.on_threshold(0.1), read())
    view = draw(services, DEMO.on_threshold(0.1), read(min_visible_share=0.5))
    assert totals(view)[0] < totals(plain)[0]
    assert "less than 50% is left to see" in view.table


def test_draw__thresholds_of_classes_stand_beside_what_training_kept(
    services: Services, read: Read
) -> None:
    one = read(class_thresholds={"person": 0.9, "car": 0.9})
    assert "kept in training (0.9)" in draw(services, DEMO, one).table
    several = read(class_thresholds={"person": 0.64, "car": 0.9})
    table = draw(services, DEMO, several).table
    assert "threshold of the class" in table
    assert "(&gt; 0.64)" in table or "(> 0.64)" in table


def test_draw__stage_1_has_none(services: Services, read: Read) -> None:
    view = pseudo_labels.draw(services, DEMO, read(stage=1), 0)
    assert isinstance(view, Empty)
    assert "No pseudo-labels at this step" in view.message
    assert "Choose a later snapshot" in view.message


def test_inspected__says_how_to_see_the_other_snapshots(
    services: Services, read: Read, factories: ModuleType
) -> None:
    read()
    assert inspected(services, DEMO).note == ""
    factories.write_snapshot(services.runs.folder("demo"), 200)
    there = inspected(services, DEMO.on_snapshot(100))
    assert there.inspection.arguments[-2:] == ("--step", "100")
    assert there.note.endswith(
        f"uda4inst inspect run {services.runs.folder('demo')} --show training"
    )
