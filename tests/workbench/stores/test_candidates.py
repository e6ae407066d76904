from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from uda4inst.detections import Detections
from uda4inst.formats.rle import rle_decode, rle_encode
from uda4inst.run_folder.snapshot_reader import Candidate, SnapshotItem
from uda4inst.uda.pseudo_labels import select
from workbench.stores.candidates import CandidateStore, settle


def make_item(*found: tuple[str, int, float], valid_share: float = 1.0) -> SnapshotItem:
    """Make an item from drawn masks: ("xx.", label, score), one row of pixels each."""
    candidates = []
    for row, label, score in found:
        mask = np.array([[c == "x" for c in row]])
        rle = rle_encode(mask)
        candidates.append(Candidate(label, score, score, 1.0, valid_share, rle))
    width = len(found[0][0]) if found else 3
    return SnapshotItem(
        source_id="s",
        target_id="t",
        source=None,
        target=np.zeros((1, width, 3), dtype=np.uint8),
        pseudo_labels=None,
        s2t=None,
        t2s=None,
        candidates=candidates,
        kept=[True] * len(candidates),
    )


def as_detections(found: list[dict[str, Any]], size: tuple[int, int]) -> Detections:
    return Detections(
        labels=torch.tensor([d["label"] for d in found]),
        class_scores=torch.tensor([d["class_score"] for d in found]),
        mask_scores=torch.tensor([d["mask_score"] for d in found]),
        size=size,
        masks=torch.from_numpy(np.stack([rle_decode(d["rle"]) for d in found])),
    )


def test_settle__better_detection_owns_shared_pixels() -> None:
    settled = settle(make_item(("xx.", 2, 0.9), (".xx", 0, 0.5)), min_valid_share=0.2)
    assert settled.ids.tolist() == [[1, 1, 2]]
    assert settled.counts(0.4).tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    assert settled.counts(0.6).tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert settled.counts(0.9).sum() == 0


def test_settle__covered_detection_is_never_kept() -> None:
    settled = settle(make_item(("xxx", 2, 0.9), (".x.", 0, 0.5)), min_valid_share=0.2)
    assert settled.covered.tolist() == [False, True]
    assert settled.kept(0.1).tolist() == [True, False]


def test_settle__on_the_ego_vehicle_is_never_kept_and_covers_nothing() -> None:
    item = make_item(("xxx", 2, 0.9), valid_share=0.1)
    settled = settle(item, min_valid_share=0.2)
    assert settled.on_ego.tolist() == [True]
    assert settled.kept(0.1).tolist() == [False]
    assert settle(item, min_valid_share=0.0).kept(0.1).tolist() == [True]


def test_settle__no_detection_is_an_ordinary_case() -> None:
    settled = settle(make_item(), min_valid_share=0.2)
    assert settled.kept(0.5).shape == (0,)
    assert settled.curve(np.array([0.1, 0.9])).tolist() == [[0] * 8] * 2


@pytest.mark.parametrize("threshold", [0.1, 0.4, 0.6, 0.75, 0.85, 0.95])
def test_settle__agrees_with_training_at_every_threshold(factories: Any, threshold: float) -> None:
    scene = factories.make_scene("camera", 1)
    found, _ = factories.make_detections(scene, seed=3)
    item = SnapshotItem(
        "s",
        "t",
        None,
        scene.image,
        None,
        None,
        None,
        [Candidate(**d) for d in found],
        [True] * len(found),
    )
    settled = settle(item, min_valid_share=0.2)
    trained = select(
        as_detections(found, scene.ids.shape),
        score_threshold=threshold,
        valid=torch.from_numpy(~scene.ego),
        min_valid_share=0.2,
    )
    assert settled.kept(threshold).tolist() == (trained.labels >= 0).tolist()


def test_settle__sliver_is_never_kept() -> None:
    item = make_item(("xxx.", 2, 0.9), (".xxx", 0, 0.5))
    settled = settle(item, min_valid_share=0.2, min_visible_share=0.4)
    assert settled.sliver.tolist() == [False, True]
    assert settled.covered.tolist() == [False, False]
    assert settled.kept(0.1).tolist() == [True, False]
    assert settle(item, min_valid_share=0.2, min_visible_share=0.3).kept(0.1).tolist() == [True] * 2


def test_settle__share_left_to_see_is_of_what_is_off_the_ego_vehicle() -> None:
    item = replace(
        make_item(("xx..", 2, 0.9), (".xxx", 0, 0.5)), valid=np.array([[True, True, True, False]])
    )
    settled = settle(item, min_valid_share=0.2, min_visible_share=0.5)
    assert settled.sliver.tolist() == [False, False]
    settled = settle(item, min_valid_share=0.2, min_visible_share=0.6)
    assert settled.sliver.tolist() == [False, True]


def test_ignored__what_is_unsure_or_a_sliver_but_seen() -> None:
    item = make_item(
        ("xxx....", 2, 0.9), (".xxx...", 0, 0.8), ("....xx.", 1, 0.5), ("xx.....", 3, 0.5)
    )
    settled = settle(item, min_valid_share=0.2, min_visible_share=0.4)
    kept = settled.kept(0.7)
    assert kept.tolist() == [True, False, False, False]
    assert settled.ignored(kept, 0.4).tolist() == [False, True, True, False]
    assert settled.ignored(kept, 0.6).tolist() == [False, True, False, False]
    assert settled.ignored(kept, None).tolist() == [False] * 4


@pytest.mark.parametrize("threshold", [0.6, 0.75, 0.85])
def test_ignored__agrees_with_training(factories: Any, threshold: float) -> None:
    scene = factories.make_scene("camera", 1)
    found, _ = factories.make_detections(scene, seed=3)
    candidates = [Candidate(**d) for d in found]
    item = SnapshotItem(
        "s", "t", None, scene.image, None, None, None, candidates, [True] * len(found), ~scene.ego
    )
    trained = select(
        as_detections(found, scene.ids.shape),
        score_threshold=threshold,
        valid=torch.from_numpy(~scene.ego),
        min_valid_share=0.2,
        min_visible_share=0.5,
        unsure_threshold=0.3,
    )
    settled = settle(item, min_valid_share=0.2, min_visible_share=0.5)
    kept = settled.kept(threshold)
    assert kept.tolist() == (trained.labels >= 0).tolist()
    ignored = np.flatnonzero(settled.ignored(kept, 0.3)) + 1
    assert len(ignored) > 0
    assert np.array_equal(np.isin(settled.ids, ignored), trained.ids.numpy() == -1)


def test_store__settles_an_item_once() -> None:
    store = CandidateStore(kept=1)
    item = make_item(("xx.", 2, 0.9))
    first = store.of(item, min_valid_share=0.2)
    assert store.of(item, min_valid_share=0.2) is first
    assert store.of(item, min_valid_share=0.5) is not first
