"""Our values become FiftyOne's labels and come back as they were."""

from __future__ import annotations

import inspection
import numpy as np
import pytest
import torch

inspection.require_fiftyone()

from uda4inst.classes import NUM_THINGS
from uda4inst.detections import Detections
from uda4inst.formats.predictions import ImagePredictions, ScoredMask
from uda4inst.formats.rle import rle_encode
from uda4inst.structures import InstanceMap, SemanticMap
from workbench.sessions import convert
from workbench.sessions.library import fo


def instances(rows: list[list[int]], labels: list[int]) -> InstanceMap:
    return InstanceMap(torch.tensor(rows, dtype=torch.int32), torch.tensor(labels).long())


def returned(given: InstanceMap) -> InstanceMap:
    return convert.from_objects(convert.to_objects(given), convert.to_ignored(given), given.size)


def random_map(seed: int, size: tuple[int, int], count: int) -> InstanceMap:
    rng = np.random.default_rng(seed)
    ids = rng.integers(-1, count + 1, size).astype(np.int32)
    labels = torch.from_numpy(rng.integers(-1, NUM_THINGS, count))
    return InstanceMap(torch.from_numpy(ids), labels)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(InstanceMap.empty((2, 3)), id="empty"),
        pytest.param(instances([[1]], [7]), id="one-pixel-image"),
        pytest.param(instances([[0, 0, 0], [0, 0, 1]], [3]), id="one-pixel-in-a-corner"),
        pytest.param(instances([[1, 0, 2], [1, 0, 2]], [0, 1]), id="both-borders"),
        pytest.param(instances([[2, 2], [2, 1]], [4, 4]), id="around-another"),
        pytest.param(instances([[-1, -1], [-1, -1]], []), id="all-ignored"),
        pytest.param(instances([[1, -1, 1], [0, 0, -1]], [5]), id="ignored-between"),
        pytest.param(instances([[1, 3]], [2, 2, 2]), id="a-vanished-instance"),
        pytest.param(instances([[1, 2]], [2, -1]), id="an-empty-slot"),
        pytest.param(random_map(0, (17, 31), 9), id="scattered"),
        pytest.param(random_map(1, (1, 997), 5), id="one-row"),
        pytest.param(random_map(2, (1013, 1), 5), id="one-column"),
    ],
)
def test_instances__come_back_without_empty_slots(given: InstanceMap) -> None:
    expected, found = given.compact(), returned(given)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.labels, expected.labels)


def test_to_objects__masks_lie_in_their_boxes() -> None:
    (car,) = convert.to_objects(instances([[0, 0, 0, 0], [0, 1, 1, 0]], [2])).detections
    assert car.label == "car"
    assert car.bounding_box == [0.25, 0.5, 0.5, 0.5]
    assert car.mask.dtype == np.bool_
    assert car.mask.tolist() == [[True, True]]


def test_to_ignored__is_one_region_or_none() -> None:
    assert convert.to_ignored(InstanceMap.empty((2, 2))).detections == []
    (region,) = convert.to_ignored(instances([[-1, 0], [0, -1]], [])).detections
    assert region.label == "ignored"
    assert region.mask.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[255, 255]], id="nothing-labelled"),
        pytest.param([[0, 18], [255, 11]], id="first-last-and-ignored"),
        pytest.param([list(range(19))], id="every-class"),
    ],
)
def test_semantic__comes_back(rows: list[list[int]]) -> None:
    given = SemanticMap(torch.tensor(rows, dtype=torch.uint8))
    found = convert.from_segmentation(convert.to_segmentation(given))
    assert torch.equal(found.ids, given.ids)


def test_to_segmentation__leaves_ignored_pixels_undrawn() -> None:
    shown = convert.to_segmentation(SemanticMap(torch.tensor([[255, 0]], dtype=torch.uint8)))
    assert shown.mask.tolist() == [[0, 1]]
    assert convert.MASK_TARGETS[1] == "road"


def detections(masks: list[list[list[bool]]], query: list[int] | None = None) -> Detections:
    count = len(masks if query is None else query)
    generator = torch.Generator().manual_seed(0)
    return Detections(
        labels=torch.arange(count) % NUM_THINGS,
        class_scores=torch.rand(count, generator=generator),
        mask_scores=torch.rand(count, generator=generator),
        size=(2, 2),
        masks=torch.tensor(masks, dtype=torch.bool).reshape(-1, 2, 2),
        query=None if query is None else torch.tensor(query),
    )


_LEFT = [[True, False], [True, False]]
_ALL = [[True, True], [True, True]]
_NONE = [[False, False], [False, False]]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(detections([]), id="none"),
        pytest.param(detections([_LEFT, _ALL]), id="overlapping"),
        pytest.param(detections([_NONE, _LEFT]), id="one-without-pixels"),
        pytest.param(detections([_LEFT, _ALL], query=[1, 0, 1]), id="shared-masks"),
    ],
)
def test_detections__come_back_with_a_mask_each(given: Detections) -> None:
    found = convert.from_detections(convert.to_detections(given), given.size)
    assert given.masks is not None
    masks = given.masks if given.query is None else given.masks[given.query]
    for name in ("labels", "class_scores", "mask_scores", "scores"):
        assert torch.equal(getattr(found, name), getattr(given, name))
    assert found.masks is not None
    assert torch.equal(found.masks, masks)


def test_to_detections__need_masks() -> None:
    empty = torch.zeros(1)
    given = Detections(torch.zeros(1, dtype=torch.int64), empty, empty, (2, 2), empty[None, None])
    with pytest.raises(ValueError, match="must carry full-size masks"):
        convert.to_detections(given)


def test_predictions__come_back_whatever_their_class_and_name() -> None:
    found = (
        ScoredMask(-1, 0.25, np.array(_LEFT)),
        ScoredMask(7, -3.5, rle_encode(np.array(_ALL))),
        ScoredMask(0, 0.5, np.array(_NONE)),
    )
    given = ImagePredictions("улица 街.png", (2, 2), found)
    back = convert.from_predictions(given.sample_id, convert.to_predictions(given), given.size)
    assert (back.sample_id, back.size) == (given.sample_id, given.size)
    assert [(d.label, d.score) for d in back.detections] == [(-1, 0.25), (7, -3.5), (0, 0.5)]
    for one, other in zip(back.detections, given.detections, strict=True):
        assert np.array_equal(one.pixels(), other.pixels())


def test_detection__holds_what_is_known_alone() -> None:
    mask = convert.cut(np.array(_ALL))
    car = convert.detection("car", mask, (2, 2), occlusion=None, area=4)
    assert isinstance(car, fo.Detection)
    assert car.area == 4
    assert not car.has_attribute("occlusion")
