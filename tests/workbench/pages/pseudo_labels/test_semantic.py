"""The Pseudo-labels page on pseudo-labels of pixels."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest
import semantic_snapshots

from uda4inst.run_folder.snapshot_reader import Snapshot
from workbench.pages.pseudo_labels import page as pseudo_labels
from workbench.pages.pseudo_labels.page import ThresholdView
from workbench.services import Services
from workbench.session import SessionState
from workbench.ui.views import Empty

DEMO = SessionState(run="demo")
Read = Callable[..., Snapshot]


@pytest.fixture
def read(services: Services, write_run: Callable[..., Path]) -> Read:
    run = write_run(steps=4)

    def make(**options: bool) -> Snapshot:
        semantic_snapshots.write(run, 100, semantic_snapshots.views(**options))
        return services.snapshots.read("demo", 100)

    return make


def draw(services: Services, state: SessionState, snapshot: Snapshot) -> ThresholdView:
    view = pseudo_labels.draw(services, state, snapshot, 0)
    assert not isinstance(view, Empty)
    return view


def totals(view: ThresholdView) -> list[float]:
    """Return kept, dropped and learned, per cent of the image."""
    return [float(n) for n in re.findall(r"<b>([\d.]+) %</b>", view.table)]


def test_draw__starts_at_the_trainings_threshold(services: Services, read: Read) -> None:
    view = draw(services, DEMO, read())
    assert isinstance(view.threshold, gr.Slider)
    assert view.threshold.value == 0.9
    assert totals(view) == [50, 50, 100]
    assert "learned in training, weight 0.25" in view.table
    assert "sky" in view.legend
    assert "road" not in view.legend


def test_draw__a_lower_threshold_keeps_more(services: Services, read: Read) -> None:
    view = draw(services, DEMO.on_threshold(0.5), read())
    assert totals(view) == [100, 0, 100]
    assert "road" in view.legend
    assert "training 0.9" in view.curve


def test_draw__dropped_pixels_were_not_learned(services: Services, read: Read) -> None:
    view = draw(services, DEMO, read(dropped=True))
    assert totals(view) == [50, 50, 50]
    assert "weight 1.00" in view.table


def test_draw__says_that_labels_are_not_looked_at(services: Services, read: Read) -> None:
    assert "Its labels are not looked at" in draw(services, DEMO, read()).table
