from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch

from uda4inst.structures import InstanceMap, Sample
from uda4inst.uda.rare_class_pool import (
    RareClassPool,
    RareInstance,
    pool_layer,
    rare_instances,
)

TRAIN, MOTORCYCLE = 5, 6
DrawMap = Callable[..., InstanceMap]
DrawSample = Callable[..., Sample]


def filled(make: DrawSample, count: int, *, size: int = 10) -> RareClassPool:
    """Return a pool after `count` stores at steps 0, 1, ..."""
    pool = RareClassPool(size)
    for step in range(count):
        sample = make(".AA.", "..A.", labels=[TRAIN], sample_id=f"image{step}")
        pool.store(sample, RareInstance(0, TRAIN, (0, 1, 2, 3)), step=step)
    return pool


def steps(pool: RareClassPool) -> list[int]:
    return [entry.step for entry in pool.entries]


def draw_steps(pool: RareClassPool, seed: int) -> list[int]:
    return [entry.step for entry in pool.draw(torch.Generator().manual_seed(seed))]


def test_rare_instances__finds_boxes_of_rare_classes(instances: DrawMap) -> None:
    found = rare_instances(
        instances("A.BB", "A..B", "CCCC", labels=[TRAIN, MOTORCYCLE, 2]),
        rare_labels={TRAIN, MOTORCYCLE},
    )
    assert found == (
        RareInstance(0, TRAIN, (0, 0, 2, 1)),
        RareInstance(1, MOTORCYCLE, (0, 2, 2, 4)),
    )


@pytest.mark.parametrize(
    ("rows", "labels", "min_area"),
    [
        pytest.param(["AA"], [2], 0, id="common-class"),
        pytest.param([".."], [TRAIN], 0, id="vanished"),
        pytest.param(["AA"], [-1], 0, id="empty-slot"),
        pytest.param(["AA"], [TRAIN], 3, id="too-small"),
        pytest.param(["##"], [], 0, id="no-slots"),
    ],
)
def test_rare_instances__leaves_out_what_will_not_be_pasted(
    instances: DrawMap, rows: list[str], labels: list[int], min_area: int
) -> None:
    drawn = instances(*rows, labels=labels)
    assert rare_instances(drawn, rare_labels={TRAIN}, min_area=min_area) == ()


def test_store__keeps_the_box_alone(sample: DrawSample) -> None:
    source = sample("....", ".AB.", "..A.", labels=[TRAIN, 0])
    pool = RareClassPool()
    pool.store(source, rare_instances(source.instances, rare_labels={TRAIN})[0], step=4)
    (entry,) = pool.entries
    assert torch.equal(entry.image, source.image[:, 1:3, 1:3])
    assert entry.mask.tolist() == [[True, False], [False, True]]
    assert (entry.label, entry.offset, entry.crop_size) == (TRAIN, (1, 1), (3, 4))
    assert (entry.sample_id, entry.step, entry.times_drawn) == ("s", 4, 0)


def test_store__copies_so_that_the_crop_can_go(sample: DrawSample) -> None:
    source = sample("A", labels=[TRAIN])
    pool = RareClassPool()
    pool.store(source, RareInstance(0, TRAIN, (0, 0, 1, 1)), step=0)
    source.image.zero_()
    assert pool.entries[0].image.min() > 0


def test_store__pushes_out_the_oldest(sample: DrawSample) -> None:
    assert steps(filled(sample, 13)) == list(range(3, 13))


@pytest.mark.parametrize(
    ("held", "wanted"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (9, 4), (10, 5)]
)
def test_draw__takes_half_and_at_least_one(sample: DrawSample, held: int, wanted: int) -> None:
    drawn = draw_steps(filled(sample, held), seed=0)
    assert len(drawn) == len(set(drawn)) == wanted


def test_draw__depends_on_the_generator_alone(sample: DrawSample) -> None:
    assert draw_steps(filled(sample, 10), seed=1) == draw_steps(filled(sample, 10), seed=1)
    assert draw_steps(filled(sample, 10), seed=1) != draw_steps(filled(sample, 10), seed=2)


def test_draw__keeps_entries_and_counts_draws(sample: DrawSample) -> None:
    pool = filled(sample, 2)
    drawn = draw_steps(pool, seed=0) + draw_steps(pool, seed=1) + draw_steps(pool, seed=2)
    assert steps(pool) == [0, 1]
    assert [e.times_drawn for e in pool.entries] == [drawn.count(0), drawn.count(1)]


def test_state_dict__survives_a_safe_load(sample: DrawSample) -> None:
    pool = filled(sample, 3)
    pool.draw(torch.Generator().manual_seed(0))
    file = io.BytesIO()
    torch.save(pool.state_dict(), file)
    file.seek(0)
    again = RareClassPool()
    again.load_state_dict(torch.load(file, weights_only=True))
    assert steps(again) == [0, 1, 2]
    assert [e.times_drawn for e in again.entries] == [e.times_drawn for e in pool.entries]
    assert draw_steps(again, seed=5) == draw_steps(pool, seed=5)
    for left, right in zip(again.entries, pool.entries, strict=True):
        assert torch.equal(left.image, right.image)
        assert torch.equal(left.mask, right.mask)
        assert (left.offset, left.crop_size) == (right.offset, right.crop_size)


def test_load_state_dict__keeps_the_newest_of_a_larger_pool(sample: DrawSample) -> None:
    smaller = RareClassPool(2)
    smaller.load_state_dict(filled(sample, 5).state_dict())
    assert steps(smaller) == [3, 4]


def test_pool_layer__places_entries_where_they_were(sample: DrawSample) -> None:
    pool = filled(sample, 1)
    image, layer = pool_layer(pool.entries, (2, 4), device="cpu")
    assert layer.ids.tolist() == [[0, 1, 1, 0], [0, 0, 1, 0]]
    assert layer.labels.tolist() == [TRAIN]
    original = sample(".AA.", "..A.", labels=[TRAIN]).image
    assert torch.equal(image, original * (layer.ids > 0))


def test_pool_layer__lays_later_entries_on_top(sample: DrawSample) -> None:
    _, layer = pool_layer(filled(sample, 2).entries, (2, 4), device="cpu")
    assert layer.ids.tolist() == [[0, 2, 2, 0], [0, 0, 2, 0]]
    assert layer.labels.tolist() == [TRAIN, TRAIN]


@pytest.mark.parametrize("size", [(1, 2), (2, 2), (1, 1)])
def test_pool_layer__cuts_what_lies_beyond_a_smaller_crop(
    sample: DrawSample, size: tuple[int, int]
) -> None:
    _, layer = pool_layer(filled(sample, 1).entries, size, device="cpu")
    whole = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 0]], dtype=torch.int32)
    assert torch.equal(layer.ids, whole[: size[0], : size[1]])
