"""Images of steps that learned the class of every pixel, to the pixel, without a database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import semantic_snapshots
from seen_run import Trained
from semantic_snapshots import CAR, HEIGHT, ROAD, SKY, WIDTH

from uda4inst.methods.base import Views
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import read_snapshot
from workbench.sessions.seen.images import (
    CONFIDENCE,
    DISCRIMINATOR,
    EGO_VEHICLE,
    KEPT_PIXELS,
    KEPT_SHARES,
    LIKELIEST,
    ORIGINS,
    PSEUDO_LABELS,
    SEMANTIC,
    SHARES,
    WEIGHTS,
    SeenImage,
)
from workbench.sessions.seen.snapshot import images_of


def of_255(values: np.ndarray) -> np.ndarray:
    return np.round(values.astype(np.float32) * 255).astype(np.uint8)


def drawn(tmp_path: Path, made: Views) -> dict[str, SeenImage]:
    semantic_snapshots.write(tmp_path, 7, made)
    return {image.domain: image for image in images_of(read_snapshot(RunDir(tmp_path), 7))}


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("direction", ["S2T", "T2S"])
def test_images__mixed_by_class_are_what_the_step_was_trained_on(
    pixels_trained: Trained, step: int, direction: str
) -> None:
    images = {i.name: i for i in images_of(read_snapshot(pixels_trained.run, step))}
    for place, mixed in enumerate(pixels_trained.views[step].class_mixed[direction.lower()]):
        image = images[f"{direction} {place + 1}"]
        assert np.array_equal(image.pixels, of_255(mixed.image.permute(1, 2, 0).numpy()))
        assert np.array_equal(image.maps[SEMANTIC], mixed.semantic.ids)
        assert np.array_equal(image.maps[ORIGINS], mixed.origin)
        assert mixed.semantic.weights is not None
        assert np.array_equal(image.maps[WEIGHTS], of_255(mixed.semantic.weights.numpy()))
        assert image.facts["pasted_share"] == float((mixed.origin > 0).float().mean())


@pytest.mark.parametrize("step", [1, 2, 3])
def test_images__pixels_pseudo_labels_are_what_training_used(
    pixels_trained: Trained, step: int
) -> None:
    images = {i.name: i for i in images_of(read_snapshot(pixels_trained.run, step))}
    for place, labels in enumerate(pixels_trained.views[step].pixel_labels):
        maps = images[f"target {place + 1}"].maps
        assert np.array_equal(maps[PSEUDO_LABELS], labels.learned.ids)
        assert np.array_equal(maps[LIKELIEST], labels.best)
        assert np.array_equal(maps[CONFIDENCE], of_255(labels.confidence.float().numpy()))


def test_images__before_pseudo_labels_the_target_has_none(pixels_trained: Trained) -> None:
    images = {i.domain: i for i in images_of(read_snapshot(pixels_trained.run, 0))}
    assert SEMANTIC in images["source"].maps
    assert not {"S2T", "T2S"} & set(images)
    assert "target" not in images or PSEUDO_LABELS not in images["target"].maps


def test_images__pixels_as_sure_as_the_threshold_are_kept(tmp_path: Path) -> None:
    target = drawn(tmp_path, semantic_snapshots.views())["target"]
    kept = np.zeros((HEIGHT, WIDTH), dtype=bool)
    kept[:, : WIDTH // 2] = True
    assert np.array_equal(target.maps[KEPT_PIXELS] > 0, kept)
    assert (target.maps[WEIGHTS] == 64).all()  # a quarter of 255
    shares, kept_shares = target.facts[SHARES], target.facts[KEPT_SHARES]
    assert isinstance(shares, dict)
    assert isinstance(kept_shares, dict)
    assert (shares["all"], shares["sky"], shares["road"]) == (1.0, 0.5, 0.5)
    assert (kept_shares["all"], kept_shares["sky"], kept_shares["road"]) == (0.5, 0.5, 0.0)


def test_images__where_labels_were_dropped_what_is_left_was_kept(tmp_path: Path) -> None:
    made = semantic_snapshots.views(dropped=True)
    low = {"pixel_threshold": 0.999}  # the highest that any class has
    made = Views(made.source, made.target, pixel_labels=made.pixel_labels, facts=low)
    target = drawn(tmp_path, made)["target"]
    assert np.array_equal(target.maps[KEPT_PIXELS] > 0, target.maps[PSEUDO_LABELS] == SKY)
    assert WEIGHTS not in target.maps


def test_images__mixed_by_class_by_hand(tmp_path: Path) -> None:
    images = drawn(tmp_path, semantic_snapshots.views(domains=True))
    mixed = images["S2T"]
    assert (mixed.maps[SEMANTIC][2:6, 4:12] == CAR).all()
    assert (mixed.maps[ORIGINS] > 0).sum() == 4 * 8
    assert set(np.unique(mixed.maps[SEMANTIC])) == {ROAD, SKY, CAR}
    assert (mixed.image_name, mixed.facts["partner"]) == ("t0", "s0")
    assert (images["target"].maps[DISCRIMINATOR] == 51).all()
    assert images["target"].objects[EGO_VEHICLE] == []
