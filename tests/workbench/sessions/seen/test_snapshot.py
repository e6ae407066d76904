"""Snapshots as plain images: what a step was trained on, to the pixel, without a database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from seen_run import Trained

from uda4inst.classes import THING_NAMES
from uda4inst.formats.rle import rle_encode
from uda4inst.models.mask2former.decode import full_masks, with_masks
from uda4inst.run_folder.snapshot_reader import (
    Candidate,
    LabelledImage,
    PoolItem,
    Snapshot,
    SnapshotItem,
    read_snapshot,
)
from uda4inst.run_folder.snapshots import LOWEST_SCORE
from uda4inst.structures import IGNORE_ID, InstanceMap
from workbench.sessions.seen.images import (
    DETECTIONS,
    EGO_VEHICLE,
    IGNORED_REGION,
    INSTANCES,
    ORIGINS,
    PSEUDO_LABELS,
    SeenImage,
    SeenObject,
)
from workbench.sessions.seen.snapshot import images_of

Seen = dict[int, dict[str, SeenImage]]

STEPS_OF_STAGE_2 = (3, 4, 6)


def painted(image: SeenImage, field: str) -> InstanceMap:
    """Return the objects of a field, and ignored pixels, as a map."""
    size = image.pixels.shape[:2]
    ids = np.zeros(size, dtype=np.int32)
    for region in image.objects[IGNORED_REGION]:
        ids[region.mask.whole(size)] = IGNORE_ID
    for number, one in enumerate(image.objects[field], start=1):
        ids[one.mask.whole(size)] = number
    labels = [THING_NAMES.index(one.label) for one in image.objects[field]]
    return InstanceMap(torch.from_numpy(ids), torch.tensor(labels, dtype=torch.int64))


def same(found: InstanceMap, expected: InstanceMap) -> bool:
    compact = expected.compact()
    return torch.equal(found.ids, compact.ids) and torch.equal(found.labels, compact.labels)


def pixels_of(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def seen(trained: Trained) -> Seen:
    return {
        step: {
            image.name: image
            for image in images_of(read_snapshot(trained.run, step), min_valid_share=0.2)
        }
        for step in trained.views
    }


@pytest.mark.parametrize("step", STEPS_OF_STAGE_2)
@pytest.mark.parametrize("direction", ["S2T", "T2S"])
def test_images__mixed_ones_are_what_the_step_was_trained_on(
    trained: Trained, seen: Seen, step: int, direction: str
) -> None:
    for place, mixed in enumerate(trained.views[step].mixed[direction.lower()]):
        image = seen[step][f"{direction} {place + 1}"]
        assert mixed is not None
        assert np.array_equal(image.pixels, pixels_of(mixed.image))
        assert same(painted(image, INSTANCES), mixed.instances)
        assert np.array_equal(image.maps[ORIGINS], mixed.origin.numpy())


def test_images__objects_say_where_most_of_their_pixels_come_from(seen: Seen) -> None:
    words = ("was there", "source", "pseudo-labels", "pool")
    found = set()
    for image in seen[6].values():
        for one in image.objects.get(INSTANCES, ()) if ORIGINS in image.maps else ():
            inside = image.maps[ORIGINS][one.mask.whole(image.maps[ORIGINS].shape)]
            assert one.facts["origin"] == words[np.bincount(inside).argmax()]
            found.add(one.facts["origin"])
    assert {"was there", "source"} <= found


@pytest.mark.parametrize("step", STEPS_OF_STAGE_2)
def test_images__pseudo_labels_are_what_training_used(
    trained: Trained, seen: Seen, step: int
) -> None:
    for place, labels in enumerate(trained.views[step].pseudo_labels):
        image = seen[step][f"target {place + 1}"]
        assert same(painted(image, PSEUDO_LABELS), labels)


@pytest.mark.parametrize("step", STEPS_OF_STAGE_2)
def test_images__detections_are_the_teachers_and_kept_where_training_kept_them(
    trained: Trained, seen: Seen, step: int
) -> None:
    views = trained.views[step]
    for place, raw in enumerate(views.detections):
        detections, labels = with_masks(raw), views.pseudo_labels[place]
        shown = [i for i, s in enumerate(detections.scores.tolist()) if s >= LOWEST_SCORE]
        found = seen[step][f"target {place + 1}"].objects[DETECTIONS]
        masks = full_masks(detections).numpy()[shown]
        assert len(found) == len(shown) > 0
        assert [one.facts["confidence"] for one in found] == detections.scores[shown].tolist()
        assert [one.label for one in found] == [THING_NAMES[k] for k in detections.labels[shown]]
        for one, mask in zip(found, masks, strict=True):
            assert np.array_equal(one.mask.whole(mask.shape), mask)
        kept = (labels.labels[shown] >= 0).tolist()
        assert [one.facts["status"] == "kept" for one in found] == kept


def ignored_pixels(found: Sequence[SeenObject], valid: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the pixels of ignored detections that are no pseudo-label's."""
    covered = np.zeros_like(valid)
    for one in found:
        if one.facts["status"] == "ignored":
            covered |= one.mask.whole(valid.shape)
    return covered & valid & (ids <= 0)


def test_images__what_is_ignored_is_what_the_loss_ignored(trained: Trained, seen: Seen) -> None:
    total = 0
    for step in STEPS_OF_STAGE_2:
        views = trained.views[step]
        for place, labels in enumerate(views.pseudo_labels):
            found = seen[step][f"target {place + 1}"].objects[DETECTIONS]
            ids = labels.ids.numpy()
            expected = ids == IGNORE_ID
            valid = views.target[place].valid.numpy()
            assert np.array_equal(ignored_pixels(found, valid, ids), expected)
            total += int(expected.sum())
    assert total > 0


def test_images__what_is_not_kept_says_why(seen: Seen) -> None:
    images = [image for step in STEPS_OF_STAGE_2 for image in seen[step].values()]
    rows = [one for image in images for one in image.objects.get(DETECTIONS, ())]
    for one in rows:
        assert (one.facts["cause"] is None) == (one.facts["status"] == "kept")
        if one.facts["cause"] == "score too low":
            assert float(str(one.facts["confidence"])) <= 0.07
    assert {one.facts["status"] for one in rows} == {"kept", "ignored", "dropped"}


def test_images__the_ego_vehicle_is_shown(trained: Trained, seen: Seen) -> None:
    for place, crop in enumerate(trained.views[6].target):
        image = seen[6][f"target {place + 1}"]
        regions = [one.mask.whole(image.pixels.shape[:2]) for one in image.objects[EGO_VEHICLE]]
        hidden = np.any(regions, axis=0) if regions else np.zeros(crop.valid.shape, dtype=bool)
        assert np.array_equal(hidden, ~crop.valid.numpy())


def test_images__pool_entries_are_those_that_wait(trained: Trained, seen: Seen) -> None:
    entries = trained.views[6].pool
    images = [image for image in seen[6].values() if image.domain == "pool"]
    assert len(images) == len(entries) > 0
    for image, entry in zip(images, entries, strict=True):
        (shown,) = image.objects[INSTANCES]
        assert np.array_equal(shown.mask.mask, entry.mask.numpy())
        assert np.array_equal(image.pixels, pixels_of(entry.image))
        assert shown.label == THING_NAMES[entry.label]
        assert image.image_name == entry.sample_id
        assert image.facts["entered"] == entry.step


def entry(value: int) -> PoolItem:
    patch = np.full((2, 3, 4), value, dtype=np.uint8)
    return PoolItem(label=5, sample_id="a", step=1, times_drawn=0, patch=patch)


def named(*entries: PoolItem) -> Iterator[str]:
    snapshot = Snapshot(9, 2, "uda4inst", 0.9, (), items=(), pool=entries)
    return (image.name for image in images_of(snapshot))


def test_images__a_pool_entry_keeps_its_name_and_no_two_share_one() -> None:
    first, twin, other = named(entry(1), entry(1), entry(2))
    assert len({first, twin, other}) == 3
    assert next(named(entry(1))) == first


def candidate(columns: slice, score: float) -> Candidate:
    mask = np.zeros((4, 8), dtype=bool)
    mask[:, columns] = True
    return Candidate(2, score, score, 1.0, 1.0, rle_encode(mask))


def test_images__every_cause_of_a_detection_that_is_not_kept() -> None:
    found = [
        candidate(np.s_[0:4], 0.95),
        candidate(np.s_[0:5], 0.94),  # a fifth of it is left
        candidate(np.s_[0:4], 0.93),
        candidate(np.s_[6:8], 0.60),
        candidate(np.s_[6:8], 0.40),
        replace(candidate(np.s_[5:6], 0.99), valid_share=0.1),
    ]
    ids = np.zeros((4, 8), dtype=np.int32)
    ids[:, :4] = 1
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    labels = LabelledImage(pixels, ids, np.array([2]))
    kept = [True, False, False, False, False, False]
    item = SnapshotItem("s", "t", None, pixels, labels, None, None, found, kept)
    snapshot = Snapshot(
        9, 2, "uda4inst", 0.9, (), [item], (), unsure_threshold=0.5, min_visible_share=0.3
    )
    (image,) = images_of(snapshot, min_valid_share=0.2)
    assert [(one.facts["status"], one.facts["cause"]) for one in image.objects[DETECTIONS]] == [
        ("kept", None),
        ("ignored", "too little left to see"),
        ("dropped", "covered by better ones"),
        ("ignored", "score too low"),
        ("dropped", "covered by better ones"),
        ("dropped", "on the ego vehicle"),
    ]
    (shown,) = image.objects[PSEUDO_LABELS]
    assert shown.facts["confidence"] == 0.95
