from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch

from uda4inst.structures import InstanceMap, Sample
from uda4inst.uda.pool_layer import pool_layer
from uda4inst.uda.rare_class_pool import (
    RareClassPool,
    RareInstance,
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
    pool.store(source, rare_instances(source.known_instances(), rare_labels={TRAIN})[0], step=4)
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


@pytest.mark.parametrize(
    ("budget", "chance"),
    [
        # A draw is five entries whose boxes cover half of the crop each (2x2 of 2x4).
        pytest.param(0.25, 0.1, id="a-tenth"),
        pytest.param(1.0, 0.4, id="two-fifths"),
    ],
)
def test_draw__keeps_to_the_area_budget_on_average(
    sample: DrawSample, budget: float, chance: float
) -> None:
    pool = filled(sample, 10)
    pool.area_budget = budget
    assert pool.entries[0].box_share == 0.5
    generator = torch.Generator().manual_seed(0)
    drawn = [len(pool.draw(generator)) for _ in range(1000)]
    assert sum(drawn) / 5000 == pytest.approx(chance, abs=0.02)
    assert sum(drawn) * 0.5 / 1000 == pytest.approx(budget, abs=0.05)
    assert sum(entry.times_drawn for entry in pool.entries) == sum(drawn)


def test_draw__leaves_out_large_entries_before_small_ones(sample: DrawSample) -> None:
    pool = RareClassPool(2, draw_share=1.0, area_budget=0.25)
    for label, box in ((TRAIN, (0, 0, 2, 4)), (MOTORCYCLE, (0, 0, 1, 1))):
        pool.store(sample("AAAA", "AAAA", labels=[label]), RareInstance(0, label, box), step=0)
    generator = torch.Generator().manual_seed(0)
    drawn = [entry.label for _ in range(1000) for entry in pool.draw(generator)]
    assert drawn.count(MOTORCYCLE) == 1000  # an eighth of the crop: its half of the budget
    assert drawn.count(TRAIN) / 1000 == pytest.approx(0.125, abs=0.03)


def test_draw__without_a_budget_spends_no_randomness_on_it(sample: DrawSample) -> None:
    expected = torch.randperm(10, generator=torch.Generator().manual_seed(3))[:5].tolist()
    assert draw_steps(filled(sample, 10), seed=3) == expected


def test_store__knows_what_else_the_box_shows(sample: DrawSample) -> None:
    source = sample("BA.", ".A#", labels=[TRAIN, 0])
    pool = RareClassPool()
    pool.store(source, RareInstance(0, TRAIN, (0, 0, 2, 3)), step=0)
    others = pool.entries[0].others
    assert others is not None
    assert others.tolist() == [[True, False, False], [False, False, True]]


def pool_of_two_classes(make: DrawSample, *, motorcycles: int, by_rarity: bool) -> RareClassPool:
    """Return a pool with four trains, then four motorcycles, of which many more were stored."""
    pool = RareClassPool(8, draw_share=0.125, by_rarity=by_rarity)
    stored = [MOTORCYCLE] * motorcycles + [TRAIN] * 4 + [MOTORCYCLE] * 4
    for step, label in enumerate(stored):
        pool.store(make("A", labels=[label]), RareInstance(0, label, (0, 0, 1, 1)), step=step)
    return pool


def share_of_trains(pool: RareClassPool, draws: int = 400) -> float:
    generator = torch.Generator().manual_seed(0)
    return sum(pool.draw(generator)[0].label == TRAIN for _ in range(draws)) / draws


def test_draw__prefers_classes_that_are_stored_less_often(sample: DrawSample) -> None:
    # Four trains of weight 1/4 beside four motorcycles of weight 1/12: three draws of four.
    by_rarity = pool_of_two_classes(sample, motorcycles=8, by_rarity=True)
    alike = pool_of_two_classes(sample, motorcycles=8, by_rarity=False)
    assert share_of_trains(by_rarity) == pytest.approx(0.75, abs=0.06)
    assert share_of_trains(alike) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("held", "wanted"), [(0, 0), (1, 1), (3, 1), (10, 5)])
def test_draw__by_rarity_takes_as_many_and_none_twice(
    sample: DrawSample, held: int, wanted: int
) -> None:
    pool = filled(sample, held)
    pool.by_rarity = True
    drawn = draw_steps(pool, seed=0)
    assert len(drawn) == len(set(drawn)) == wanted


def test_state_dict__keeps_how_often_classes_were_stored(sample: DrawSample) -> None:
    pool = pool_of_two_classes(sample, motorcycles=40, by_rarity=True)
    again = RareClassPool(8, draw_share=0.125, by_rarity=True)
    again.load_state_dict(pool.state_dict())
    assert again.state_dict()["stored"] == [0, 0, 0, 0, 0, 4, 44, 0]
    assert share_of_trains(again, 20) == share_of_trains(pool, 20)


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
        assert left.others is not None
        assert right.others is not None
        assert torch.equal(left.others, right.others)
        assert (left.offset, left.crop_size) == (right.offset, right.crop_size)


def test_load_state_dict__keeps_the_newest_of_a_larger_pool(sample: DrawSample) -> None:
    smaller = RareClassPool(2)
    smaller.load_state_dict(filled(sample, 5).state_dict())
    assert steps(smaller) == [3, 4]


def test_pool_layer__places_entries_where_they_were(sample: DrawSample) -> None:
    pool = filled(sample, 1)
    image, layer, surplus = pool_layer(pool.entries, (2, 4), device="cpu")
    assert surplus is None
    assert layer.ids.tolist() == [[0, 1, 1, 0], [0, 0, 1, 0]]
    assert layer.labels.tolist() == [TRAIN]
    original = sample(".AA.", "..A.", labels=[TRAIN]).image
    assert torch.equal(image, original * (layer.ids > 0))


def test_pool_layer__lays_later_entries_on_top(sample: DrawSample) -> None:
    layer = pool_layer(filled(sample, 2).entries, (2, 4), device="cpu").instances
    assert layer.ids.tolist() == [[0, 2, 2, 0], [0, 0, 2, 0]]
    assert layer.labels.tolist() == [TRAIN, TRAIN]


@pytest.mark.parametrize("size", [(1, 2), (2, 2), (1, 1)])
def test_pool_layer__cuts_what_lies_beyond_a_smaller_crop(
    sample: DrawSample, size: tuple[int, int]
) -> None:
    layer = pool_layer(filled(sample, 1).entries, size, device="cpu").instances
    whole = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 0]], dtype=torch.int32)
    assert torch.equal(layer.ids, whole[: size[0], : size[1]])


def test_pool_layer__shows_the_whole_box_of_small_entries(sample: DrawSample) -> None:
    source = sample("....", ".AB.", "..A.", labels=[TRAIN, 0])
    pool = RareClassPool()
    pool.store(source, RareInstance(0, TRAIN, (1, 1, 3, 3)), step=0)
    image, layer, surplus = pool_layer(pool.entries, (3, 4), device="cpu", patch_max_area=2)
    assert layer.ids.tolist() == [[0, 0, 0, 0], [0, 1, -1, 0], [0, 0, 1, 0]]
    assert surplus is not None
    assert surplus.int().tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]
    assert torch.equal(image, source.image * surplus)


def test_pool_layer__shows_large_entries_by_their_mask(sample: DrawSample) -> None:
    entries = filled(sample, 1).entries
    _, layer, surplus = pool_layer(entries, (2, 4), device="cpu", patch_max_area=2)
    assert surplus is not None
    assert torch.equal(surplus, layer.ids > 0)
    assert layer.areas().tolist() == [3]


def test_pool_layer__judges_entries_before_they_are_cut(sample: DrawSample) -> None:
    entries = filled(sample, 1).entries
    _, layer, surplus = pool_layer(entries, (1, 2), device="cpu", patch_max_area=2)
    assert layer.areas().tolist() == [1]
    assert surplus is not None
    assert torch.equal(surplus, layer.ids > 0)


def test_pool_layer__a_later_box_hides_what_lies_below(sample: DrawSample) -> None:
    pool = RareClassPool()
    pool.store(sample("AA", labels=[TRAIN]), RareInstance(0, TRAIN, (0, 0, 1, 2)), step=0)
    pool.store(sample("A.", labels=[TRAIN]), RareInstance(0, TRAIN, (0, 0, 1, 2)), step=1)
    _, layer, _ = pool_layer(pool.entries, (1, 2), device="cpu", patch_max_area=1)
    assert layer.ids.tolist() == [[2, 0]]


RIDER, BICYCLE = 1, 7


def test_rare_instances__names_the_rider_that_touches_most(instances: DrawMap) -> None:
    scene = instances(
        "D.BBC.",
        "..AACC",
        "..AAC.",
        labels=[MOTORCYCLE, RIDER, RIDER, RIDER],
    )
    (found,) = rare_instances(scene, rare_labels={MOTORCYCLE}, with_riders=True)
    assert (found.slot, found.rider, found.box) == (0, 2, (0, 2, 3, 6))
    (alone,) = rare_instances(scene, rare_labels={MOTORCYCLE})
    assert (alone.rider, alone.box) == (None, (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        pytest.param(["A..B"], [MOTORCYCLE, RIDER], id="apart"),
        pytest.param(["AB"], [MOTORCYCLE, 0], id="a-person"),
        pytest.param(["AB"], [TRAIN, RIDER], id="of-a-train"),
    ],
)
def test_rare_instances__nobody_rides(
    instances: DrawMap, rows: list[str], labels: list[int]
) -> None:
    (found,) = rare_instances(
        instances(*rows, labels=labels), rare_labels={MOTORCYCLE, TRAIN}, with_riders=True
    )
    assert found.rider is None


def ridden(make: DrawSample, *, ignored: bool = False) -> RareClassPool:
    """Return a pool with a bicycle (A) under its rider (B), beside a car (C)."""
    source = make(".B.", "AAC", labels=[BICYCLE, RIDER, 2])
    (rare,) = rare_instances(source.known_instances(), rare_labels={BICYCLE}, with_riders=True)
    pool = RareClassPool(riders_are_ignored=ignored)
    pool.store(source, rare, step=0)
    return pool


def test_pool_layer__pastes_riders_as_instances(sample: DrawSample) -> None:
    image, layer, surplus = pool_layer(ridden(sample).entries, (2, 3), device="cpu")
    assert surplus is None
    assert layer.ids.tolist() == [[0, 2, 0], [1, 1, 0]]
    assert layer.labels.tolist() == [BICYCLE, RIDER]
    source = sample(".B.", "AAC", labels=[BICYCLE, RIDER, 2])
    assert torch.equal(image, source.image * (layer.ids > 0))


def test_pool_layer__shows_ignored_riders_without_a_slot(sample: DrawSample) -> None:
    image, layer, surplus = pool_layer(ridden(sample, ignored=True).entries, (2, 3), device="cpu")
    assert layer.ids.tolist() == [[0, -1, 0], [1, 1, 0]]
    assert layer.labels.tolist() == [BICYCLE]
    assert surplus is not None
    assert surplus.int().tolist() == [[0, 1, 0], [1, 1, 0]]
    source = sample(".B.", "AAC", labels=[BICYCLE, RIDER, 2])
    assert torch.equal(image, source.image * surplus)


@pytest.mark.parametrize("ignored", [False, True])
def test_state_dict__keeps_riders(sample: DrawSample, ignored: bool) -> None:
    pool = ridden(sample, ignored=ignored)
    again = RareClassPool()
    again.load_state_dict(pool.state_dict())
    (before,), (after,) = pool.entries, again.entries
    assert before.rider is not None
    assert after.rider is not None
    assert torch.equal(after.rider, before.rider)
    assert after.labels == before.labels


@pytest.mark.parametrize(
    ("max_overlap", "ids", "labels"),
    [
        pytest.param(0.5, [[0, 1, 1, 0], [0, 0, 1, 0]], [TRAIN], id="a-third-is-allowed"),
        pytest.param(0.2, [[0, 0, 0, 0], [0, 0, 0, 0]], [-1], id="a-third-is-too-much"),
    ],
)
def test_pool_layer__leaves_out_what_would_lie_on_others(
    sample: DrawSample, max_overlap: float, ids: list[list[int]], labels: list[int]
) -> None:
    taken = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    image, layer, _ = pool_layer(
        filled(sample, 1).entries, (2, 4), device="cpu", taken=taken, max_overlap=max_overlap
    )
    assert layer.ids.tolist() == ids
    assert layer.labels.tolist() == labels
    assert torch.equal(image > 0, (layer.ids > 0).expand(3, -1, -1))
