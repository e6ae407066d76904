"""What training of pixels saw, in FiftyOne: maps, shares, views, and labels as diagnostics."""

from __future__ import annotations

import json
import math
from typing import Any

import inspection
import numpy as np
import pytest

inspection.require_database()

from seen_run import Trained

from uda4inst.run_folder.layout import RunDir
from workbench.sessions.building import DataSession
from workbench.sessions.convert import from_segmentation
from workbench.sessions.library import fo
from workbench.sessions.seen import session
from workbench.sessions.seen.request import SeenRequest
from workbench.sessions.seen.session import open_seen_session
from workbench.sessions.seen.truth import TargetTruth

pytestmark = pytest.mark.inspection


@pytest.fixture(scope="module")
def whole(pixels_trained: Trained) -> DataSession:
    """The session of the whole run, left as it is."""
    return open_seen_session(SeenRequest(pixels_trained.run))


@pytest.fixture(scope="module")
def labelled(pixels_trained: Trained) -> fo.Dataset:
    """The same with the target's labels."""
    return open_seen_session(SeenRequest(pixels_trained.run, target_labels=True)).dataset


def of_255(values: Any) -> np.ndarray:
    return np.round(np.asarray(values, dtype=np.float32) * 255).astype(np.uint8)


def test_open__maps_come_back_as_training_had_them(
    pixels_trained: Trained, whole: DataSession
) -> None:
    view = whole.dataset.match(fo.ViewField("domain").is_in(["S2T", "T2S"]))
    assert len(view) > 0
    for sample in view:
        directions = pixels_trained.views[sample.step].class_mixed
        mixed = directions[sample.domain.lower()][sample["item"] - 1]
        assert np.array_equal(from_segmentation(sample.semantic).ids, mixed.semantic.ids)
        assert np.array_equal(sample.weights.get_map(), of_255(mixed.semantic.weights))
        assert np.array_equal(sample.origins.get_mask(), mixed.origin)


def test_open__pseudo_labels_and_confidence_are_the_teachers(
    pixels_trained: Trained, whole: DataSession
) -> None:
    view = whole.dataset.match({"domain": "target", "stage": 2})
    assert len(view) > 0
    for sample in view:
        labels = pixels_trained.views[sample.step].pixel_labels[sample["item"] - 1]
        assert np.array_equal(from_segmentation(sample.pseudo_labels).ids, labels.learned.ids)
        assert np.array_equal(sample.confidence.get_map(), of_255(labels.confidence))
        sure = of_255(labels.confidence) >= 0.08 * 255
        assert np.array_equal(sample.kept_pixels.get_mask() > 0, sure)
        assert sample.kept.all == pytest.approx(sure.mean())
        assert sample.shares.road == pytest.approx(float((labels.best == 0).float().mean()))


def test_views__of_pixels_show_what_they_are_called(whole: DataSession) -> None:
    dataset = whole.dataset
    assert dataset.load_saved_view("T2S").distinct("domain") == ["T2S"]
    assert set(dataset.load_saved_view("step 2").values("step")) == {2}
    shares = dataset.load_saved_view("class road").values("shares.road")
    assert shares == sorted(shares, reverse=True)
    assert min(shares) > 0
    kept = dataset.load_saved_view("pseudo-labels by share kept").values("kept.all")
    assert kept == sorted(kept)
    assert "kept pseudo-labels" not in whole.summary["views"]


def test_open__of_pixels_again_writes_nothing(
    pixels_trained: Trained, whole: DataSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole.dataset.values(["id", "last_modified_at"])
    for name in ("_write", "_begin", "in_order"):
        monkeypatch.setattr(session, name, lambda *_, **__: pytest.fail("written again"))
    again = open_seen_session(SeenRequest(pixels_trained.run))
    assert json.loads(json.dumps(again.summary)) == {**whole.summary, "built": False, "added": 0}
    assert again.dataset.values(["id", "last_modified_at"]) == before


def test_open__without_asking_no_labels_of_the_target_are_there(whole: DataSession) -> None:
    assert whole.dataset.distinct("labels") == ["none"]
    assert whole.dataset.count("ground_truth") == 0
    assert whole.dataset.count("verdicts") == 0


def test_open__target_labels_judge_every_pixel(labelled: fo.Dataset) -> None:
    assert "diagnostics" in labelled.description
    assert "pseudo-labels by precision" in labelled.list_saved_views()
    view = labelled.match({"domain": "target", "stage": 2})
    assert view.distinct("labels") == ["diagnostics"]
    for sample in view:
        truth = from_segmentation(sample.ground_truth).ids.numpy()
        best = from_segmentation(sample.likeliest).ids.numpy()
        known, kept = truth != 255, sample.kept_pixels.get_mask() > 0
        right = known & (truth == best)
        assert sample.accuracy == pytest.approx(right.sum() / known.sum())
        assert sample.precision.all == pytest.approx((right & kept).sum() / (known & kept).sum())
        assert sample.recall.all == pytest.approx((right & kept).sum() / known.sum())
        assert np.array_equal(sample.verdicts.get_mask() == 1, right & kept)
        assert np.array_equal(sample.verdicts.get_mask() == 0, ~known)


def test_summary__has_the_mean_share_of_each_class(whole: DataSession) -> None:
    source = whole.summary["domains"]["source"]
    assert math.isclose(
        source["shares"]["road"], whole.dataset.match({"domain": "source"}).mean("shares.road")
    )
    assert "detections" not in whole.summary


def test_truth__is_looked_for_only_when_asked(
    pixels_trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetTruth, "__init__", lambda *_: pytest.fail("labels were opened"))
    run = RunDir(pixels_trained.run.path)
    assert open_seen_session(SeenRequest(run), fresh=True).summary["added"] == 4
