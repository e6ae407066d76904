from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
import torch
from torch import Tensor

from uda4inst.detections import Detections
from uda4inst.models.mask2former.decode import full_masks
from uda4inst.structures import InstanceMap
from uda4inst.uda import pseudo_labels
from uda4inst.uda.pseudo_labels import class_thresholds, select, valid_shares

Draw = Callable[..., Detections]


def everywhere(detections: Detections) -> Tensor:
    return torch.ones(detections.size, dtype=torch.bool)


def random_detections(
    seed: int, *, queries: int, count: int, size: tuple[int, int] = (30, 45)
) -> Detections:
    """Make overlapping blobs with shared queries, as `decode` would."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(2, count, generator=generator).sort(descending=True).values
    return Detections(
        labels=torch.randint(0, 8, (count,), generator=generator),
        class_scores=scores[0].sqrt(),
        mask_scores=scores[1].sqrt(),
        size=size,
        mask_logits=torch.randn(queries, 8, 16, generator=generator) - 0.5,
        query=torch.randint(0, queries, (count,), generator=generator),
    )


def random_valid(seed: int, size: tuple[int, int] = (30, 45)) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 100)
    return torch.rand(size[0], 1, generator=generator).expand(size) < 0.5


def select_slowly(
    detections: Detections,
    threshold: float,
    valid: Tensor,
    min_share: float,
    *,
    unsure: float = 2.0,
    min_visible: float = 0.0,
) -> InstanceMap:
    masks, scores = full_masks(detections), detections.scores.tolist()
    ids = torch.zeros(detections.size, dtype=torch.int32)
    for k, mask in enumerate(masks):
        area, inside = int(mask.sum()), int((mask & valid).sum())
        if unsure < scores[k] <= threshold and area and inside / area >= min_share:
            ids[mask & valid] = -1
    # worst first, so that better ones paint over; among equals the first is better
    for k in sorted(range(len(detections)), key=lambda k: (scores[k], -k)):
        area, inside = int(masks[k].sum()), int((masks[k] & valid).sum())
        if scores[k] > threshold and area and inside / area >= min_share:
            ids[masks[k] & valid] = k + 1
    for k, mask in enumerate(masks):
        if (ids == k + 1).sum() < min_visible * (mask & valid).sum():
            ids[ids == k + 1] = -1 if unsure < 2 else 0
    labels = [
        int(label) if bool((ids == k + 1).any()) else -1
        for k, label in enumerate(detections.labels)
    ]
    return InstanceMap(ids, torch.tensor(labels, dtype=torch.int64))


def test_select__takes_scores_above_the_threshold_only(detections: Draw) -> None:
    found = detections(["X.."], [".X."], ["..X"], labels=[1, 2, 3], scores=[0.75, 0.5, 0.25])
    chosen = select(found, score_threshold=0.5, valid=everywhere(found))
    assert chosen.ids.tolist() == [[1, 0, 0]]
    assert chosen.labels.tolist() == [1, -1, -1]


def test_select__multiplies_class_and_mask_scores() -> None:
    found = Detections(
        labels=torch.tensor([0, 1]),
        class_scores=torch.tensor([0.9, 0.9]),
        mask_scores=torch.tensor([0.9, 0.5]),
        size=(1, 2),
        masks=torch.tensor([[[True, False]], [[False, True]]]),
    )
    chosen = select(found, score_threshold=0.8, valid=everywhere(found))
    assert chosen.labels.tolist() == [0, -1]


def test_select__gives_each_pixel_to_the_better_score(detections: Draw) -> None:
    found = detections(["XX."], [".XX"], labels=[1, 2], scores=[0.91, 0.95])
    chosen = select(found, score_threshold=0.9, valid=everywhere(found))
    assert chosen.ids.tolist() == [[1, 2, 2]]


def test_select__prefers_the_first_among_equal_scores(detections: Draw) -> None:
    found = detections(["XX."], [".XX"], labels=[1, 2], scores=[0.95, 0.95])
    chosen = select(found, score_threshold=0.9, valid=everywhere(found))
    assert chosen.ids.tolist() == [[1, 1, 2]]


def test_select__empties_the_slot_of_a_covered_detection(detections: Draw) -> None:
    found = detections([".X."], ["XXX"], labels=[1, 2], scores=[0.91, 0.95])
    chosen = select(found, score_threshold=0.9, valid=everywhere(found))
    assert chosen.labels.tolist() == [-1, 2]


def test_select__keeps_the_better_class_of_a_shared_mask() -> None:
    found = Detections(
        labels=torch.tensor([3, 4]),
        class_scores=torch.tensor([0.91, 0.95]),
        mask_scores=torch.ones(2),
        size=(8, 8),
        mask_logits=torch.ones(1, 2, 2),
        query=torch.tensor([0, 0]),
    )
    chosen = select(found, score_threshold=0.9, valid=everywhere(found))
    assert chosen.labels.tolist() == [-1, 4]
    assert chosen.areas().tolist() == [0, 64]


def test_select__ignores_dropped_detections_in_overlaps(detections: Draw) -> None:
    found = detections(["XXXXX"], [".X..."], labels=[1, 2], scores=[0.99, 0.95])
    valid = torch.tensor([[False, True, False, False, False]])
    chosen = select(found, score_threshold=0.9, valid=valid, min_valid_share=0.5)
    assert chosen.labels.tolist() == [-1, 2]


@pytest.mark.parametrize(
    ("row", "labels", "ids"),
    [
        pytest.param("XXXXX.", [1], [0, 0, 0, 0, 1, 0], id="a-fifth-valid-is-kept-and-cut"),
        pytest.param("XXXX..", [-1], [0] * 6, id="none-valid-is-dropped"),
        pytest.param("....XX", [1], [0, 0, 0, 0, 1, 1], id="all-valid-is-whole"),
    ],
)
def test_select__cuts_what_is_not_valid(
    detections: Draw, row: str, labels: list[int], ids: list[int]
) -> None:
    found = detections([row], labels=[1], scores=[1.0])
    valid = torch.tensor([[False, False, False, False, True, True]])
    chosen = select(found, score_threshold=0.9, valid=valid, min_valid_share=0.2)
    assert chosen.labels.tolist() == labels
    assert chosen.ids.tolist() == [ids]


def test_select__drops_what_is_too_little_valid(detections: Draw) -> None:
    found = detections(["XXXXXX"], labels=[1], scores=[1.0])
    valid = torch.tensor([[True, False, False, False, False, False]])
    assert select(found, score_threshold=0.9, valid=valid).labels.tolist() == [-1]


def test_select__takes_a_threshold_per_class(detections: Draw) -> None:
    found = detections(["X."], [".X"], labels=[0, 5], scores=[0.8, 0.8])
    thresholds = torch.tensor([0.9, 0, 0, 0, 0, 0.7, 0, 0])
    chosen = select(found, score_threshold=thresholds, valid=everywhere(found))
    assert chosen.labels.tolist() == [-1, 5]


def test_select__takes_no_detections() -> None:
    found = random_detections(0, queries=3, count=0)
    chosen = select(found, score_threshold=0.9, valid=everywhere(found))
    assert len(chosen) == 0
    assert chosen.ids.sum() == 0


@pytest.mark.parametrize("threshold", [0.0, 0.5], ids=["low", "high"])
@pytest.mark.parametrize(("queries", "count"), [(4, 12), (12, 6)], ids=["shared", "spare"])
@pytest.mark.parametrize("seed", range(3))
def test_select__agrees_with_the_slow_loop(
    seed: int, queries: int, count: int, threshold: float
) -> None:
    found, valid = random_detections(seed, queries=queries, count=count), random_valid(seed)
    chosen = select(found, score_threshold=threshold, valid=valid, min_valid_share=0.5)
    expected = select_slowly(found, threshold, valid, 0.5)
    assert torch.equal(chosen.ids, expected.ids)
    assert torch.equal(chosen.labels, expected.labels)


@pytest.mark.parametrize("unsure", [0.1, 2.0], ids=["unsure", "sure"])
@pytest.mark.parametrize(("queries", "count"), [(4, 12), (12, 6)], ids=["shared", "spare"])
@pytest.mark.parametrize("seed", range(3))
def test_select__agrees_with_the_slow_loop_on_options(
    seed: int, queries: int, count: int, unsure: float
) -> None:
    found, valid = random_detections(seed, queries=queries, count=count), random_valid(seed)
    chosen = select(
        found,
        score_threshold=0.4,
        valid=valid,
        min_valid_share=0.5,
        min_visible_share=0.4,
        unsure_threshold=None if unsure > 1 else unsure,
    )
    expected = select_slowly(found, 0.4, valid, 0.5, unsure=unsure, min_visible=0.4)
    assert torch.equal(chosen.ids, expected.ids)
    assert torch.equal(chosen.labels, expected.labels)


def test_select__ignores_what_the_teacher_is_unsure_of(detections: Draw) -> None:
    found = detections(
        ["XX..."],
        [".XX.."],
        ["..XX."],
        ["....X"],
        labels=[1, 2, 3, 4],
        scores=[0.95, 0.9, 0.6, 0.5],
    )
    chosen = select(found, score_threshold=0.9, valid=everywhere(found), unsure_threshold=0.5)
    assert chosen.ids.tolist() == [[1, 1, -1, -1, 0]]
    assert chosen.labels.tolist() == [1, -1, -1, -1]


def test_select__is_sure_of_the_ego_vehicle(detections: Draw) -> None:
    found = detections(["XXXX"], ["..XX"], labels=[1, 2], scores=[0.7, 0.7])
    valid = torch.tensor([[True, False, False, False]])
    chosen = select(found, score_threshold=0.9, valid=valid, unsure_threshold=0.5)
    assert chosen.ids.tolist() == [[-1, 0, 0, 0]]


def test_select__is_unsure_of_learned_classes_only(detections: Draw) -> None:
    found = detections(["X."], [".X"], labels=[0, 5], scores=[0.8, 0.8])
    bounds = torch.full((8,), torch.inf)
    bounds[5] = 0.9
    chosen = select(
        found, score_threshold=bounds, valid=everywhere(found), unsure_threshold=bounds - 0.4
    )
    assert chosen.ids.tolist() == [[0, -1]]


def test_select__keeps_a_mask_that_one_class_is_sure_of() -> None:
    found = Detections(
        labels=torch.tensor([3, 4]),
        class_scores=torch.tensor([0.95, 0.6]),
        mask_scores=torch.ones(2),
        size=(8, 8),
        mask_logits=torch.ones(1, 2, 2),
        query=torch.tensor([0, 0]),
    )
    chosen = select(found, score_threshold=0.9, valid=everywhere(found), unsure_threshold=0.5)
    assert chosen.labels.tolist() == [3, -1]
    assert chosen.areas().tolist() == [64, 0]


@pytest.mark.parametrize(
    ("share", "labels", "ids"),
    [
        pytest.param(0.0, [1, 2], [1, 1, 1, 2], id="off"),
        pytest.param(0.25, [1, 2], [1, 1, 1, 2], id="a-quarter-is-enough"),
        pytest.param(0.3, [1, -1], [1, 1, 1, 0], id="a-quarter-is-too-little"),
    ],
)
def test_select__drops_slivers(
    detections: Draw, share: float, labels: list[int], ids: list[int]
) -> None:
    found = detections(["XXX."], ["XXXX"], labels=[1, 2], scores=[0.99, 0.95])
    chosen = select(found, score_threshold=0.9, valid=everywhere(found), min_visible_share=share)
    assert chosen.labels.tolist() == labels
    assert chosen.ids.tolist() == [ids]


def test_select__does_not_call_a_sliver_what_the_ego_vehicle_cuts(detections: Draw) -> None:
    found = detections(["XXXX"], labels=[1], scores=[0.95])
    valid = torch.tensor([[True, False, False, False]])
    chosen = select(found, score_threshold=0.9, valid=valid, min_visible_share=0.5)
    assert chosen.ids.tolist() == [[1, 0, 0, 0]]


def test_select__is_unsure_of_slivers(detections: Draw) -> None:
    found = detections(["XXX."], ["XXXX"], labels=[1, 2], scores=[0.99, 0.95])
    chosen = select(
        found,
        score_threshold=0.9,
        valid=everywhere(found),
        min_visible_share=0.5,
        unsure_threshold=0.5,
    )
    assert chosen.ids.tolist() == [[1, 1, 1, -1]]


def test_select__is_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = random_detections(1, queries=7, count=12)
    whole = select(found, score_threshold=0.1, valid=everywhere(found))
    monkeypatch.setattr(pseudo_labels, "CHUNK_PIXELS", 3 * 30 * 45)
    chunked = select(found, score_threshold=0.1, valid=everywhere(found))
    assert torch.equal(whole.ids, chunked.ids)
    assert torch.equal(whole.labels, chunked.labels)


def test_select__never_looks_at_values_on_a_device() -> None:
    found = random_detections(0, queries=3, count=6)
    assert found.mask_logits is not None
    assert found.query is not None
    on_meta = Detections(
        labels=found.labels.to("meta"),
        class_scores=found.class_scores.to("meta"),
        mask_scores=found.mask_scores.to("meta"),
        size=found.size,
        mask_logits=found.mask_logits.to("meta"),
        query=found.query.to("meta"),
    )
    valid = torch.ones(found.size, dtype=torch.bool, device="meta")
    assert len(select(on_meta, score_threshold=0.5, valid=valid)) == 6
    chosen = select(
        on_meta, score_threshold=0.5, valid=valid, min_visible_share=0.5, unsure_threshold=0.2
    )
    assert len(chosen) == 6


def test_valid_shares__count_pixels(detections: Draw) -> None:
    found = detections(["XXXX"], ["...X"], ["...."], labels=[0, 1, 2], scores=[1.0, 1.0, 1.0])
    valid = torch.tensor([[True, False, False, True]])
    assert valid_shares(found, valid).tolist() == [0.5, 1.0, 0.0]


def test_valid_shares__follow_shared_masks() -> None:
    found, valid = random_detections(2, queries=4, count=9), random_valid(2)
    masks = full_masks(found)
    expected = (masks & valid).sum((1, 2)) / masks.sum((1, 2))
    assert torch.equal(valid_shares(found, valid), expected)


def test_class_thresholds__cannot_be_reached_by_other_classes() -> None:
    thresholds = class_thresholds([2, 4], 0.7)
    assert thresholds.tolist() == pytest.approx([inf, inf, 0.7, inf, 0.7, inf, inf, inf])
