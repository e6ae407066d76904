"""Class mixing against loops over pixels, drawn by hand where that is clearer."""

from __future__ import annotations

import math

import pytest
import torch

from uda4inst.structures import Sample, SemanticMap, TargetSample
from uda4inst.uda.class_mixing import (
    ClassMixer,
    StrongViewConfig,
    half_of_the_classes,
    mix_classes,
)
from uda4inst.uda.pixel_labels import PixelLabels

PLAIN = StrongViewConfig(jitter_chance=0.0, blur_chance=0.0)


def ids_of(rows: list[list[int]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.uint8)


def chosen_classes(ids: torch.Tensor, order: torch.Tensor, **how: object) -> set[int]:
    mask = half_of_the_classes(ids, order, **how)  # pyright: ignore[reportArgumentType]
    chosen = set(ids[mask].tolist())
    assert not chosen & set(ids[~mask].tolist())  # classes go whole
    return chosen


@pytest.mark.parametrize("present", [[], [3], [3, 7], [0, 3, 7], list(range(19))], ids=len)
@pytest.mark.parametrize("rounded", ["up", "down"])
@pytest.mark.parametrize("first", [0, 5])
def test_half_of_the_classes__the_lowest_of_those_present(
    present: list[int], rounded: str, first: int
) -> None:
    ids = ids_of([[*present, 255, *present]])
    order = torch.rand(19, generator=torch.Generator().manual_seed(len(present)))
    candidates = sorted((c for c in present if c >= first), key=lambda c: float(order[c]))
    half = len(candidates) / 2
    count = math.ceil(half) if rounded == "up" else max(1, math.floor(half))
    expected = set(candidates[:count])
    assert chosen_classes(ids, order, from_train_id=first, rounded=rounded) == expected


def test_half_of_the_classes__every_class_is_drawn_alike() -> None:
    ids, generator = ids_of([[1, 4, 9, 16]]), torch.Generator().manual_seed(0)
    counts: dict[int, int] = {1: 0, 4: 0, 9: 0, 16: 0}
    for _ in range(800):
        for chosen in chosen_classes(ids, torch.rand(19, generator=generator)):
            counts[chosen] += 1
    assert min(counts.values()) > 340
    assert sum(counts.values()) == 1600


def test_mix_classes__every_pixel_from_one_of_both() -> None:
    base, above = torch.zeros(3, 1, 3), torch.ones(3, 1, 3)
    where = torch.tensor([[True, False, True]])
    weights = torch.tensor([[0.25, 0.25, 0.25]])
    below = SemanticMap(ids_of([[0, 2, 255]]), weights)
    pasted = SemanticMap(ids_of([[13, 13, 255]]))
    mixed = mix_classes(base, below, above, pasted, where)
    assert mixed.image[0].tolist() == [[1, 0, 1]]
    assert mixed.semantic.ids.tolist() == [[13, 2, 255]]
    assert mixed.semantic.weights is not None
    assert mixed.semantic.weights.tolist() == [[1, 0.25, 1]]
    assert mixed.origin.tolist() == [[1, 0, 1]]
    assert below.ids.tolist() == [[0, 2, 255]]


def pair(seed: int) -> tuple[Sample, TargetSample, PixelLabels]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(19, (6, 8), generator=generator).to(torch.uint8)
    source = Sample(torch.rand(3, 6, 8, generator=generator), "s", "source", None, SemanticMap(ids))
    image = torch.rand(3, 6, 8, generator=generator)
    target = TargetSample(image, torch.ones(6, 8, dtype=torch.bool), "t")
    guessed = torch.randint(19, (6, 8), generator=generator).to(torch.uint8)
    sure = torch.ones(6, 8, dtype=torch.float16)
    return source, target, PixelLabels(guessed, sure, SemanticMap(guessed))


def test_class_mixer__what_is_drawn_follows_from_seed_rank_and_step() -> None:
    source, target, labels = pair(0)
    mixers = [ClassMixer(StrongViewConfig(), seed=s, rank=r) for s, r in ((1, 0), (2, 0), (1, 1))]
    made = [m([source], [target], [labels], step=step)[0] for m in mixers for step in (4, 5)]
    again = mixers[0]([source], [target], [labels], step=4)[0]
    assert torch.equal(again.image, made[0].image)
    assert torch.equal(again.semantic.ids, made[0].semantic.ids)
    images = {tuple(one.image.flatten().tolist()) for one in made}
    assert len(images) == len(made)


def test_class_mixer__without_a_strong_view_pixels_are_those_of_their_parents() -> None:
    pairs = [pair(seed) for seed in (0, 1)]
    source, target, labels = (list(part) for part in zip(*pairs, strict=True))
    for (above, below, known), mixed in zip(
        pairs, ClassMixer(PLAIN, seed=0, rank=0)(source, target, labels, step=0), strict=True
    ):
        from_source = mixed.origin > 0
        parent = torch.where(from_source, above.image, below.image)
        assert torch.equal(mixed.image, parent)
        classes = torch.where(from_source, above.known_semantic().ids, known.learned.ids)
        assert torch.equal(mixed.semantic.ids, classes)
        assert from_source.any()
        assert not from_source.all()
