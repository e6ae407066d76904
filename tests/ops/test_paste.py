from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uda4inst.ops.paste import Pasted, paste
from uda4inst.structures import InstanceMap

BLACK, WHITE = 0.0, 1.0


def drawn(*rows: str, labels: list[int]) -> InstanceMap:
    """Draw an id map: '.' background, '#' ignore, 'A' the first instance and so on."""
    numbers = {".": 0, "#": -1} | {chr(ord("A") + k): k + 1 for k in range(26)}
    ids = torch.tensor([[numbers[c] for c in row] for row in rows], dtype=torch.int32)
    return InstanceMap(ids, torch.tensor(labels, dtype=torch.int64))


def flat(instances: InstanceMap, value: float) -> Tensor:
    return torch.full((3, *instances.size), value)


def paste_all(base: InstanceMap, top: InstanceMap) -> Pasted:
    which = torch.ones(len(top), dtype=torch.bool)
    return paste(flat(base, BLACK), base, flat(top, WHITE), top, which=which)


def random_map(generator: torch.Generator, slots: int) -> InstanceMap:
    ids = torch.randint(-1, slots + 1, (5, 7), generator=generator, dtype=torch.int32)
    return InstanceMap(ids, torch.randint(-1, 8, (slots,), generator=generator))


def paste_slowly(
    base: InstanceMap, top: InstanceMap, which: Tensor
) -> tuple[list[list[int]], list[list[bool]], list[int]]:
    ids, region = base.ids.tolist(), torch.zeros(base.size, dtype=torch.bool).tolist()
    for y in range(base.size[0]):
        for x in range(base.size[1]):
            k = int(top.ids[y, x])
            if k > 0 and bool(which[k - 1]) and int(top.labels[k - 1]) >= 0:
                ids[y][x] = len(base) + k
                region[y][x] = True
    labels = [
        int(label) if chosen else -1
        for label, chosen in zip(top.labels, which.tolist(), strict=True)
    ]
    return ids, region, [*base.labels.tolist(), *labels]


def test_paste__all_slots_need_not_be_named() -> None:
    base, top = drawn("AAB.", labels=[1, 2]), drawn(".AB#", labels=[3, -1])
    named = paste_all(base, top)
    pasted = paste(flat(base, BLACK), base, flat(top, WHITE), top)
    assert torch.equal(pasted.image, named.image)
    assert torch.equal(pasted.instances.ids, named.instances.ids)
    assert torch.equal(pasted.instances.labels, named.instances.labels)
    assert torch.equal(pasted.pasted, named.pasted)


def test_paste__covers_base_and_appends_slots() -> None:
    base = drawn("AA.B", "AA.B", labels=[2, 0])
    top = drawn(".A..", ".AA.", labels=[5])
    result = paste_all(base, top)
    assert result.instances.ids.tolist() == [[1, 3, 0, 2], [1, 3, 3, 2]]
    assert result.instances.labels.tolist() == [2, 0, 5]
    assert result.image[1].tolist() == [[0, 1, 0, 0], [0, 1, 1, 0]]
    assert result.pasted.tolist() == [[False, True, False, False], [False, True, True, False]]


def test_paste__leaves_a_covered_instance_as_a_slot_without_pixels() -> None:
    result = paste_all(drawn(".A.", labels=[3]), drawn("AAA", labels=[0]))
    assert result.instances.labels.tolist() == [3, 0]
    assert result.instances.areas().tolist() == [0, 3]


def test_paste__overrides_ignore_of_the_base_only_where_it_pastes() -> None:
    result = paste_all(drawn("###", labels=[]), drawn(".A.", labels=[0]))
    assert result.instances.ids.tolist() == [[-1, 1, -1]]


def test_paste__never_pastes_ignore_pixels() -> None:
    result = paste_all(drawn("A..", labels=[0]), drawn("##A", labels=[7]))
    assert result.instances.ids.tolist() == [[1, 0, 2]]
    assert result.image[0].tolist() == [[0, 0, 1]]


def test_paste__leaves_out_what_was_not_chosen() -> None:
    base, top = drawn("...", labels=[]), drawn("AB.", labels=[4, 5])
    result = paste(
        flat(base, BLACK), base, flat(top, WHITE), top, which=torch.tensor([False, True])
    )
    assert result.instances.ids.tolist() == [[0, 2, 0]]
    assert result.instances.labels.tolist() == [-1, 5]


def test_paste__never_pastes_empty_slots() -> None:
    result = paste_all(drawn("A..", labels=[1]), drawn("AB.", labels=[-1, 5]))
    assert result.instances.ids.tolist() == [[1, 3, 0]]
    assert result.instances.labels.tolist() == [1, -1, 5]


def test_paste__shows_the_surplus_without_its_labels() -> None:
    base, top = drawn("AA#A", labels=[2]), drawn("A.B#", labels=[5, 6])
    result = paste(
        flat(base, BLACK),
        base,
        flat(top, WHITE),
        top,
        which=torch.tensor([True, False]),
        surplus=torch.tensor([[True, True, True, False]]),
    )
    assert result.instances.ids.tolist() == [[2, 0, -1, 1]]
    assert result.instances.labels.tolist() == [2, 5, -1]
    assert result.image[0].tolist() == [[1, 1, 1, 0]]
    assert result.pasted.tolist() == [[True, True, True, False]]


def test_paste__ignores_ignored_pixels_in_the_surplus() -> None:
    base, top = drawn("AAA", labels=[2]), drawn("#.A", labels=[-1])
    surplus = torch.ones(1, 3, dtype=torch.bool)
    which = torch.ones(1, dtype=torch.bool)
    result = paste(flat(base, BLACK), base, flat(top, WHITE), top, which=which, surplus=surplus)
    assert result.instances.ids.tolist() == [[-1, 0, 0]]


@pytest.mark.parametrize(
    ("base", "top"),
    [
        pytest.param(drawn("..", labels=[]), drawn("A.", labels=[1]), id="empty-base"),
        pytest.param(drawn("A.", labels=[1]), drawn("..", labels=[]), id="empty-pasted"),
        pytest.param(drawn("..", labels=[]), drawn("..", labels=[]), id="both-empty"),
    ],
)
def test_paste__takes_empty_maps(base: InstanceMap, top: InstanceMap) -> None:
    result = paste_all(base, top)
    assert result.instances.ids.tolist() == torch.maximum(base.ids, top.ids).tolist()
    assert result.instances.labels.tolist() == [*base.labels.tolist(), *top.labels.tolist()]


@pytest.mark.parametrize("seed", range(12))
def test_paste__agrees_with_the_slow_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    base, top = random_map(generator, seed % 4), random_map(generator, seed % 3)
    base_image, top_image = torch.rand(2, 3, 5, 7, generator=generator)
    which = torch.rand(len(top), generator=generator) < 0.7
    result = paste(base_image, base, top_image, top, which=which)
    ids, region, labels = paste_slowly(base, top, which)
    assert result.instances.ids.tolist() == ids
    assert result.pasted.tolist() == region
    assert result.instances.labels.tolist() == labels
    assert torch.equal(result.image[:, result.pasted], top_image[:, result.pasted])
    assert torch.equal(result.image[:, ~result.pasted], base_image[:, ~result.pasted])


@pytest.mark.parametrize("seed", range(4))
def test_paste__gives_disjoint_masks_and_keeps_its_inputs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    base, top = random_map(generator, 3), random_map(generator, 2)
    images = torch.rand(2, 3, 5, 7, generator=generator)
    inputs = [images, base.ids, base.labels, top.ids, top.labels]
    before = [tensor.clone() for tensor in inputs]
    which = torch.ones(2, dtype=torch.bool)
    result = paste(images[0], base, images[1], top, which=which)
    assert int(result.instances.masks().sum(0).max()) <= 1
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))


def test_paste__never_looks_at_values_on_a_device() -> None:
    # On the meta device there are no values: reading one raises.
    base, top = (m.to("meta") for m in (drawn("A.", labels=[1]), drawn(".A", labels=[2])))
    image = torch.zeros(3, 1, 2, device="meta")
    which = torch.ones(1, dtype=torch.bool, device="meta")
    assert len(paste(image, base, image, top, which=which).instances) == 2
    result = paste(image, base, image, top, which=which, surplus=which[None].expand(1, 2))
    assert len(result.instances) == 2
