from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from uda4inst.structures import InstanceMap, Sample
from uda4inst.uda.mixing import Mixed, Origin, mix
from uda4inst.uda.rare_class_pool import PoolEntry, RareClassPool, RareInstance

DrawMap = Callable[..., InstanceMap]
WHITE = 1.0


def mix_flat(
    base: InstanceMap,
    top: InstanceMap,
    *,
    origin: Origin = Origin.SOURCE_INSTANCE,
    min_area: int = 0,
    pool: tuple[PoolEntry, ...] = (),
) -> Mixed:
    """Mix a black image with a white one on top."""
    black = torch.zeros(3, *base.size)
    return mix(black, base, black + WHITE, top, origin=origin, min_area=min_area, pool=pool)


@pytest.fixture
def entry() -> PoolEntry:
    """A grey motorcycle at (0, 1), one pixel high, two wide."""
    ids = torch.tensor([[0, 1, 1, 0]], dtype=torch.int32)
    sample = Sample(
        torch.full((3, 1, 4), 0.5), InstanceMap(ids, torch.tensor([6])), "grey", "source"
    )
    pool = RareClassPool()
    pool.store(sample, RareInstance(0, 6, (0, 1, 1, 3)), step=0)
    return pool.entries[0]


@pytest.mark.parametrize("origin", [Origin.SOURCE_INSTANCE, Origin.PSEUDO_LABEL])
def test_mix__pastes_and_says_where_from(instances: DrawMap, origin: Origin) -> None:
    mixed = mix_flat(instances("AA..", labels=[0]), instances(".A.B", labels=[1, 2]), origin=origin)
    assert mixed.instances.ids.tolist() == [[1, 2, 0, 3]]
    assert mixed.instances.labels.tolist() == [0, 1, 2]
    assert mixed.image[0].tolist() == [[0, 1, 0, 1]]
    assert mixed.origin.tolist() == [[0, origin, 0, origin]]
    assert mixed.origin.dtype == torch.uint8


def test_mix__leaves_small_instances_out(instances: DrawMap) -> None:
    mixed = mix_flat(instances("....", labels=[]), instances("AAB.", labels=[1, 2]), min_area=2)
    assert mixed.instances.ids.tolist() == [[1, 1, 0, 0]]
    assert mixed.instances.labels.tolist() == [1, -1]


def test_mix__keeps_small_instances_of_the_base(instances: DrawMap) -> None:
    mixed = mix_flat(instances("A...", labels=[4]), instances("....", labels=[]), min_area=2)
    assert mixed.instances.areas().tolist() == [1]


def test_mix__of_two_empty_maps_is_the_base(instances: DrawMap) -> None:
    mixed = mix_flat(instances(".#", labels=[]), instances("..", labels=[]))
    assert mixed.instances.ids.tolist() == [[0, -1]]
    assert mixed.image.sum() == 0
    assert mixed.origin.sum() == 0


def test_mix__puts_the_pool_on_top_of_everything(instances: DrawMap, entry: PoolEntry) -> None:
    mixed = mix_flat(instances("A..A", labels=[0]), instances(".BA.", labels=[1, 2]), pool=(entry,))
    assert mixed.instances.ids.tolist() == [[1, 4, 4, 1]]
    assert mixed.instances.labels.tolist() == [0, 1, 2, 6]
    assert mixed.instances.areas().tolist() == [2, 0, 0, 2]
    assert mixed.image[0].tolist() == [[0, 0.5, 0.5, 0]]
    assert mixed.origin.tolist() == [[0, 3, 3, 0]]


def test_mix__gives_each_drawn_entry_a_slot(instances: DrawMap, entry: PoolEntry) -> None:
    empty = instances("....", labels=[])
    mixed = mix_flat(empty, empty, pool=(entry, entry))
    assert mixed.instances.labels.tolist() == [6, 6]
    assert mixed.instances.areas().tolist() == [0, 2]


def test_mix__leaves_its_inputs_untouched(instances: DrawMap, entry: PoolEntry) -> None:
    base, top = instances("AAAA", labels=[0]), instances("AB..", labels=[1, 2])
    mix_flat(base, top, pool=(entry,))
    assert base.ids.tolist() == [[1, 1, 1, 1]]
    assert top.ids.tolist() == [[1, 2, 0, 0]]
    assert (entry.image == 0.5).all()


def test_mix__never_looks_at_values_on_a_device(instances: DrawMap, entry: PoolEntry) -> None:
    base, top = (instances("AA..", labels=[0]).to("meta") for _ in range(2))
    image = torch.zeros(3, 1, 4, device="meta")
    mixed = mix(image, base, image, top, origin=Origin.SOURCE_INSTANCE, min_area=1, pool=(entry,))
    assert len(mixed.instances) == 3
