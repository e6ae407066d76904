from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from uda4inst.structures import InstanceMap, Sample, TargetSample
from uda4inst.uda.mixing import InstanceMixer, Mixed, MixingConfig, Origin, Pair, mix
from uda4inst.uda.rare_class_pool import PoolEntry, RareClassPool, RareInstance

DrawMap = Callable[..., InstanceMap]
WHITE = 1.0


def mix_flat(
    base: InstanceMap,
    top: InstanceMap,
    *,
    origin: Origin = Origin.SOURCE_INSTANCE,
    min_area: int = 0,
    patch_max_area: int = 0,
    pool: tuple[PoolEntry, ...] = (),
) -> Mixed:
    """Mix a black image with a white one on top."""
    black = torch.zeros(3, *base.size)
    return mix(
        black,
        base,
        black + WHITE,
        top,
        origin=origin,
        min_area=min_area,
        patch_max_area=patch_max_area,
        pool=pool,
    )


@pytest.fixture
def entry() -> PoolEntry:
    """A grey motorcycle at (0, 1), one pixel high, two wide."""
    ids = torch.tensor([[0, 1, 1, 0]], dtype=torch.int32)
    sample = Sample(
        torch.full((3, 1, 4), 0.5),
        "grey",
        "source",
        instances=InstanceMap(ids, torch.tensor([6])),
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


def test_mix__pastes_small_instances_with_their_box(instances: DrawMap) -> None:
    mixed = mix_flat(
        instances("CCC.", "CCC.", "CCC.", labels=[7, 7, 4]),
        instances(".A..", "..A.", "BBB.", labels=[1, 2]),
        patch_max_area=2,
    )
    assert mixed.instances.ids.tolist() == [[3, 4, 0, 0], [3, 0, 4, 0], [5, 5, 5, 0]]
    assert mixed.instances.labels.tolist() == [7, 7, 4, 1, 2]
    assert mixed.image[0].tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0]]
    assert mixed.origin.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0]]


def test_mix__ignores_what_a_box_shows_of_objects_left_out(instances: DrawMap) -> None:
    mixed = mix_flat(
        instances("CCCC", "CCCC", labels=[7, 7, 4]),
        instances("A#BC", "AA.A", labels=[1, 2, -1]),
        min_area=2,
        patch_max_area=4,
    )
    assert mixed.instances.ids.tolist() == [[4, -1, -1, 0], [4, 4, 0, 4]]
    assert mixed.instances.labels.tolist() == [7, 7, 4, 1, -1, -1]


@pytest.mark.parametrize(("patch_max_area", "shown"), [(0, 2), (1, 2), (2, 4)])
def test_mix__takes_the_mask_above_the_area(
    instances: DrawMap, patch_max_area: int, shown: int
) -> None:
    base, top = instances("..", "..", labels=[]), instances("A.", ".A", labels=[1])
    mixed = mix_flat(base, top, patch_max_area=patch_max_area)
    assert mixed.image[0].sum() == shown
    assert mixed.instances.areas().tolist() == [2]


def test_mix__pastes_small_entries_of_the_pool_with_their_box(instances: DrawMap) -> None:
    source = Sample(
        torch.full((3, 2, 2), 0.5), "s", "source", instances=instances("A.", ".A", labels=[6])
    )
    pool = RareClassPool()
    pool.store(source, RareInstance(0, 6, (0, 0, 2, 2)), step=0)
    base, top = instances("A..", "AAA", labels=[0]), instances("...", "...", labels=[])
    mixed = mix_flat(base, top, patch_max_area=2, pool=pool.entries)
    assert mixed.instances.ids.tolist() == [[2, 0, 0], [0, 2, 1]]
    assert mixed.image[0].tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0]]
    assert mixed.origin.tolist() == [[3, 3, 0], [3, 3, 0]]


def test_mix__has_no_weights_unless_given(instances: DrawMap) -> None:
    assert mix_flat(instances("A", labels=[1]), instances("A", labels=[2])).weights is None


@pytest.mark.parametrize(
    ("base_weights", "pasted_weights", "expected"),
    [
        pytest.param([0.5], None, [0.5, 1, 1, 1], id="of-the-base"),
        pytest.param(None, [0.25, 0.75], [1, 0.25, 0.75, 1], id="of-the-pasted"),
    ],
)
def test_mix__weighs_slots_beside_the_pool(
    instances: DrawMap,
    entry: PoolEntry,
    base_weights: list[float] | None,
    pasted_weights: list[float] | None,
    expected: list[float],
) -> None:
    image = torch.zeros(3, 1, 4)
    mixed = mix(
        image,
        instances("A...", labels=[0]),
        image,
        instances(".AB.", labels=[1, 2]),
        origin=Origin.PSEUDO_LABEL,
        pool=(entry,),
        base_weights=None if base_weights is None else torch.tensor(base_weights),
        pasted_weights=None if pasted_weights is None else torch.tensor(pasted_weights),
    )
    assert mixed.weights is not None
    assert mixed.weights.tolist() == expected
    assert len(mixed.instances) == 4


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
    mixed = mix(
        image,
        base,
        image,
        top,
        origin=Origin.SOURCE_INSTANCE,
        min_area=1,
        patch_max_area=2,
        pool=(entry,),
        base_weights=torch.ones(1, device="meta"),
        base_confidence=torch.ones(1, 4, dtype=torch.float16, device="meta"),
    )
    assert mixed.confidence is not None
    assert len(mixed.instances) == 3
    assert mixed.weights is not None


def halves(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float16)


def test_mix__confidence_of_the_base_stays_below(instances: DrawMap, entry: PoolEntry) -> None:
    black, below = torch.zeros(3, 1, 4), halves(0.25, 0.5, 0.75, 0.875)
    mixed = mix(
        black,
        instances("A...", labels=[0]),
        black,
        instances("...B", labels=[-1, 2]),
        origin=Origin.SOURCE_INSTANCE,
        base_confidence=below,
    )
    assert mixed.confidence is not None
    assert mixed.confidence.dtype == torch.float16
    assert mixed.confidence.tolist() == [[0.25, 0.5, 0.75, 1]]
    pooled = mix(
        black,
        instances("A...", labels=[0]),
        black,
        instances("....", labels=[]),
        origin=Origin.SOURCE_INSTANCE,
        pool=(entry,),
        base_confidence=below,
    )
    assert pooled.confidence is not None
    assert pooled.confidence.tolist() == [[0.25, 1, 1, 0.875]]
    assert below.tolist() == [[0.25, 0.5, 0.75, 0.875]]


def test_mix__confidence_is_pasted_along(instances: DrawMap) -> None:
    black, above = torch.zeros(3, 2, 4), halves(0.25, 0.5, 0.75, 0.875).expand(2, 4)
    drawn = instances("A...", "AA..", labels=[2])
    for patch_max_area, first_row in ((0, [0.25, 1, 1, 1]), (3, [0.25, 0.5, 1, 1])):
        mixed = mix(
            black,
            instances("....", "....", labels=[]),
            black,
            drawn,
            origin=Origin.PSEUDO_LABEL,
            patch_max_area=patch_max_area,
            pasted_confidence=above,
        )
        assert mixed.confidence is not None
        assert mixed.confidence.tolist() == [first_row, [0.25, 0.5, 1, 1]]


def test_mix__without_confidence_has_none(instances: DrawMap) -> None:
    assert mix_flat(instances("A.", labels=[0]), instances(".A", labels=[1])).confidence is None


def test_mixer__weighs_rare_instances() -> None:
    ids = torch.tensor([[1, 2, 0]], dtype=torch.int32)
    black = torch.zeros(3, 1, 3)
    source = Sample(black + 1, "s", "source", instances=InstanceMap(ids, torch.tensor([6, 2])))
    target = TargetSample(black, torch.ones(1, 3, dtype=torch.bool), "t")
    pseudo = InstanceMap(torch.tensor([[0, 0, 1]], dtype=torch.int32), torch.tensor([6]))
    soft = Pair(source, target, pseudo, torch.tensor([0.5]))
    plain = InstanceMixer(MixingConfig())
    heavy = InstanceMixer(MixingConfig(), rare_labels={6}, rare_weight=3.0)
    (before,), (s2t,) = (m.s2t([soft], [source], [()]) for m in (plain, heavy))
    (t2s,) = heavy.t2s([soft._replace(weights=None)])
    assert before is not None
    assert before.weights is not None
    assert before.weights.tolist() == [0.5, 1, 1]
    assert s2t is not None
    assert s2t.weights is not None
    assert s2t.weights.tolist() == [1.5, 3, 1]
    assert t2s is not None
    assert t2s.weights is not None
    assert t2s.weights.tolist() == [3, 1, 3]
