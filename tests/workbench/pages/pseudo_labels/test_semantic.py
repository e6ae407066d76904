"""The Pseudo-labels page on pseudo-labels of pixels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import semantic_snapshots

from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import Snapshot
from workbench.pages.pseudo_labels import page as pseudo_labels
from workbench.pages.pseudo_labels.inspection import inspected
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
    assert view.threshold == 0.9
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


Crop = tuple[Snapshot, np.ndarray]


@pytest.fixture
def crop(services: Services, short_run: Callable[..., list[str]]) -> Crop:
    """A snapshot of a real crop, right and sure on its left half, and its true classes."""
    root = services.runs.root
    settings = ("method.name=dacs", "model.preset=deeplab_tiny")
    overrides = short_run(root, "crops", *settings)
    truth = semantic_snapshots.write_of_crop(RunDir(root / "crops"), overrides, 6, right=0.5)
    return services.snapshots.read("crops", 6), truth


def marked(view: ThresholdView, name: str) -> list[str]:
    """Return the last two cells of a class: precision and recall."""
    row = re.search(rf"</i>{name}</span>(.*?)</tr>", view.table)
    assert row is not None
    return re.findall(r"<td>([^<]*)</td>", row[1])[-2:]


CROPS = SessionState(run="crops")


def test_draw__labels_are_opened_only_when_asked(services: Services, crop: Crop) -> None:
    plain = draw(services, CROPS, crop[0])
    assert "precision" not in plain.table + plain.curve
    shown = draw(services, CROPS.on_target_labels(True), crop[0])
    assert "Diagnostics, by the target" in shown.table
    assert "training never sees" in shown.table
    assert "Diagnostics: right by the target" in shown.curve
    assert shown.target_labels.value is True


def test_draw__precision_and_recall_are_those_counted_one_by_one(
    services: Services, crop: Crop
) -> None:
    snapshot, truth = crop
    labels = snapshot.items[0].pixel_labels
    assert labels is not None
    view = draw(services, CROPS.on_target_labels(True).on_threshold(0.2), snapshot)
    known = truth != 255
    for name, train_id in (("road", 0), ("building", 2), ("train", 16)):
        there, said = known & (truth == train_id), known & (labels.best == train_id)
        both = int((there & said).sum())
        expected = [f"{100 * both / int(n.sum()):.1f} %" if n.any() else "–" for n in (said, there)]
        assert marked(view, name) == expected
    right = int((known & (truth == labels.best)).sum())
    assert f"right on {100 * right / int(known.sum()):.1f} % of them" in view.table


def test_draw__a_higher_threshold_is_more_precise_here(services: Services, crop: Crop) -> None:
    asked = CROPS.on_target_labels(True)
    low = draw(services, asked.on_threshold(0.2), crop[0])
    high = draw(services, asked.on_threshold(0.9), crop[0])
    assert marked(high, "road")[0] == "100.0 %"
    assert marked(high, "road")[1] == marked(low, "road")[1]
    assert marked(high, "train")[0] == "–"


def test_draw__labels_of_another_crop_are_not_shown(services: Services, crop: Crop) -> None:
    other = replace(crop[0], step=7)
    view = draw(services, CROPS.on_target_labels(True), other)
    assert "could not be cut again" in view.table
    assert "precision*" not in view.table


def test_draw__a_target_without_labels_is_one_message_beside_the_rest(
    services: Services, crop: Crop
) -> None:
    config = services.runs.root / "crops" / "config.yaml"
    config.write_text(config.read_text().replace("/cityscapes", "/nowhere"))
    view = draw(services, CROPS.on_target_labels(True), crop[0])
    assert "nowhere" in view.table
    assert totals(view)[0] == 50


def test_inspected__asks_for_labels_as_the_page_does(services: Services, crop: Crop) -> None:
    asked = CROPS.on_target_labels(True)
    assert "--target-labels" in inspected(services, asked).inspection.arguments
    assert "--target-labels" not in inspected(services, CROPS).inspection.arguments
