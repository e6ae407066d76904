"""Labels of target crops lie where training cut them, or are not shown; no database is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from seen_run import Trained

from uda4inst.classes import THING_NAMES
from uda4inst.data.stream.dataset import PairedDataset
from uda4inst.data.stream.items import ItemInstances, ItemSemantic
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir, create_run
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.structures import InstanceMap
from uda4inst.training.config import load_config, to_yaml
from workbench.sessions.cutting import cut
from workbench.sessions.reading import GROUND_TRUTH
from workbench.sessions.seen.images import (
    DETECTIONS,
    KEPT_PIXELS,
    LIKELIEST,
    PRECISION,
    RECALL,
    VERDICTS,
    PixelVerdict,
    SeenImage,
    SeenObject,
)
from workbench.sessions.seen.snapshot import images_of
from workbench.sessions.seen.truth import TargetTruth, judged, judged_pixels


@pytest.fixture(scope="module")
def truth(trained: Trained) -> TargetTruth:
    return TargetTruth(trained.run)


def targets(trained: Trained, step: int) -> list[SeenImage]:
    images = images_of(read_snapshot(trained.run, step))
    return [image for image in images if image.domain == "target"]


def labelled_crops(trained: Trained, step: int) -> list[InstanceMap]:
    """Return the labels of a step's target crops, as an oracle would be shown them."""
    config = load_config(trained.run.config)
    oracle = PairedDataset(config.data, mode="labelled", seed=config.seed, labels="instances")
    size = config.training.batch_size
    found = []
    for draw in range(step * size, (step + 1) * size):
        item = oracle[draw].labelled
        assert item is not None
        assert isinstance(item.labels, ItemInstances)
        found.append(InstanceMap(item.labels.ids, item.labels.labels))
    return found


@pytest.mark.parametrize("step", [0, 4])
def test_truth__is_what_the_oracle_would_learn(
    trained: Trained, truth: TargetTruth, step: int
) -> None:
    images = list(truth.shown_in(targets(trained, step), step))
    for image, expected in zip(images, labelled_crops(trained, step), strict=False):
        objects = image.objects[GROUND_TRUTH]
        assert image.facts["labels"] == "diagnostics"
        masks = torch.from_numpy(np.stack([o.mask.whole(expected.size) for o in objects]))
        assert torch.equal(masks, expected.masks())
        labels = [THING_NAMES.index(one.label) for one in objects]
        assert labels == expected.labels.tolist()


def test_truth__of_other_pixels_is_not_shown(trained: Trained, truth: TargetTruth) -> None:
    (image, *_) = targets(trained, 4)
    changed = image.pixels.copy()
    changed[0, 0, 0] ^= 1
    (shown,) = truth.shown_in([replace(image, pixels=changed)], 4)
    assert GROUND_TRUTH not in shown.objects
    assert "labels" not in shown.facts
    (shown,) = truth.shown_in([image], 3)  # of another step
    assert GROUND_TRUTH not in shown.objects


def test_truth__judges_every_detection(trained: Trained, truth: TargetTruth) -> None:
    (image, *_) = truth.shown_in(targets(trained, 4), 4)
    verdicts = {one.facts["verdict"] for one in image.objects[DETECTIONS]}
    assert verdicts
    assert verdicts <= {"right", "wrong", "not judged"}


def found(rows: Sequence[str], label: str = "car") -> SeenObject:
    return SeenObject(label, cut(np.array([[c == "X" for c in row] for row in rows])))


@pytest.mark.parametrize(
    ("rows", "label", "verdict", "iou"),
    [
        pytest.param(["XX..", "...."], "car", "right", 1.0, id="the-object"),
        pytest.param(["X...", "...."], "car", "right", 0.5, id="half-of-it"),
        pytest.param(["XXX.", "XX.."], "car", "wrong", 0.4, id="too-much"),
        pytest.param(["XX..", "...."], "bus", "wrong", 0.0, id="another-class"),
        pytest.param(["...X", "...X"], "car", "not judged", None, id="ignored-pixels"),
        pytest.param(["..X.", "...."], "car", "wrong", 0.0, id="on-nothing"),
    ],
)
def test_judged__by_iou_with_an_object_of_its_class(
    rows: Sequence[str], label: str, verdict: str, iou: float | None
) -> None:
    ids = np.array([[1, 1, 0, -1], [0, 0, 0, -1]], dtype=np.int32)
    facts = judged(found(rows, label), ids, [THING_NAMES.index("car")]).facts
    assert facts["verdict"] == verdict
    assert facts.get("true_iou") == iou


def test_truth__of_a_run_that_sees_no_unlabelled_target_is_refused(tmp_path: Path) -> None:
    config = load_config("toystreets_semantic_smoke", ["run.name=labelled", "method.name=oracle"])
    run = RunDir(tmp_path / "labelled")
    create_run(run, config_yaml=to_yaml(config))
    with pytest.raises(UserError, match="runs that see unlabelled target images, got oracle"):
        TargetTruth(run)


def pixel_targets(trained: Trained, step: int) -> list[SeenImage]:
    images = TargetTruth(trained.run).shown_in(images_of(read_snapshot(trained.run, step)), step)
    return [image for image in images if image.domain == "target"]


@pytest.mark.parametrize("step", [0, 2])
def test_truth__of_pixels_is_what_the_oracle_would_learn(
    pixels_trained: Trained, step: int
) -> None:
    config = load_config(pixels_trained.run.config)
    oracle = PairedDataset(config.data, mode="labelled", seed=config.seed, labels="semantic")
    images = pixel_targets(pixels_trained, step)
    assert images
    for place, image in enumerate(images):
        item = oracle[step * config.training.batch_size + place].labelled
        assert item is not None
        assert isinstance(item.labels, ItemSemantic)
        assert image.facts["labels"] == "diagnostics"
        assert np.array_equal(image.maps[GROUND_TRUTH], item.labels.ids)


def test_truth__judges_pixels_one_by_one() -> None:
    best = np.array([[0, 0, 1, 1, 2]], dtype=np.uint8)
    truth = np.array([[0, 1, 1, 255, 0]], dtype=np.uint8)
    maps = {LIKELIEST: best, KEPT_PIXELS: np.array([[1, 1, 0, 1, 0]], dtype=np.uint8)}
    crop = SeenImage("target", "target 1", "t", np.zeros((1, 5, 3), np.uint8), maps=maps)
    image = judged_pixels(crop, truth)
    words = ["kept, right", "kept, wrong", "dropped, right", None, "dropped, wrong"]
    found = image.maps[VERDICTS][0].tolist()
    assert [PixelVerdict(value).words if value else None for value in found] == words
    assert image.facts["accuracy"] == 2 / 4
    precision, recall = image.facts[PRECISION], image.facts[RECALL]
    assert isinstance(precision, dict)
    assert isinstance(recall, dict)
    assert (precision["all"], precision["road"], precision["sidewalk"]) == (0.5, 0.5, None)
    assert (recall["all"], recall["road"], recall["sidewalk"]) == (0.25, 0.5, 0.0)
