from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from uda4inst.methods.base import MethodContext, Views
from uda4inst.methods.steps import (
    aligned_source,
    count_labels,
    mixed_view,
    thirds_view,
    view_losses,
)
from uda4inst.ops.color import align_lab
from uda4inst.structures import DomainBatch, InstanceMap, Sample
from uda4inst.tasks.base import Loss, LossPart, StudentView
from uda4inst.uda.confidence import ConfidenceConfig
from uda4inst.uda.mixing import Mixed

MakeContext = Callable[..., MethodContext]


class FixedLoss(Loss):
    """Says what it is told to, whatever was predicted."""

    def parts(
        self, predictions: Sequence[Any], views: Sequence[StudentView]
    ) -> Sequence[Sequence[LossPart]]:
        ones = (LossPart("class", torch.tensor(1.0), 2.0), LossPart("mask", torch.tensor(2.0), 5.0))
        return [ones for _ in zip(predictions, views, strict=True)]


def test_view_losses__weigh_by_view_and_part(batch: DomainBatch, make_context: MakeContext) -> None:
    mixed = [plain_mix(batch.source[0])]
    views = [mixed_view("a", mixed, weight=0.4), mixed_view("b", mixed, weight=1.0)]
    context = replace(make_context(), loss=FixedLoss())
    terms = list(view_losses(views, context=context, joint=True))
    assert [t.name for t in terms] == ["a/class", "a/mask", "b/class", "b/mask"]
    assert [float(t.value) for t in terms] == [1, 2, 1, 2]
    assert [t.weight for t in terms] == [0.8, 2, 2, 5]


def test_count_labels__leaves_out_empty_slots() -> None:
    ids = torch.zeros(2, 2, dtype=torch.int32)
    maps = [InstanceMap(ids, torch.tensor(labels)) for labels in ([0, -1, 7], [7, -1])]
    assert count_labels(maps).tolist() == [1, 0, 0, 0, 0, 0, 0, 2]


def plain_mix(sample: Sample, weights: list[float] | None = None) -> Mixed:
    origin = torch.zeros(sample.size, dtype=torch.uint8)
    given = None if weights is None else torch.tensor(weights)
    return Mixed(sample.image, sample.known_instances(), origin, given)


def test_mixed_view__leaves_out_pairs_that_are_not_mixed(batch: DomainBatch) -> None:
    first, second = (plain_mix(sample) for sample in batch.source)
    view = mixed_view("s2t", [None, first, None, second], weight=0.4)
    assert view.images == [first.image, second.image]
    assert (view.name, view.weight, view.slot_weights) == ("s2t", 0.4, None)


def thirds(source: tuple[Sample, ...], s2t: Mixed, t2s: Mixed) -> Views:
    """Return views of which the second pair is mixed one way, the third the other."""
    return Views(source=source, mixed={"s2t": (None, s2t, None), "t2s": (None, None, t2s)})


def test_thirds_view__takes_one_image_of_every_pair(batch: DomainBatch) -> None:
    source = (batch.source[0],) * 3
    s2t, t2s = plain_mix(batch.source[1]), plain_mix(batch.source[1])
    view = thirds_view("mixed", thirds(source, s2t, t2s))
    assert [id(i) for i in view.images] == [id(c.image) for c in (source[0], s2t, t2s)]
    assert view.targets == [source[0].instances, s2t.instances, t2s.instances]
    assert (view.name, view.weight, view.slot_weights) == ("mixed", 1, None)


def test_thirds_view__weighs_the_slots_of_a_plain_crop_by_one(batch: DomainBatch) -> None:
    source = batch.source[:1] * 3
    s2t, t2s = plain_mix(source[0], [0.5, 0.25]), plain_mix(batch.source[1], [])
    view = thirds_view("mixed", thirds(source, s2t, t2s))
    assert view.slot_weights is not None
    assert [w.tolist() for w in view.slot_weights] == [[1, 1], [0.5, 0.25], []]


def test_thirds_view__is_sure_of_a_plain_crop(batch: DomainBatch) -> None:
    source = batch.source[:1] * 3
    unsure = torch.full(source[0].size, 0.5, dtype=torch.float16)
    unsure[:, 8:] = 0.95
    s2t = replace(plain_mix(source[0]), confidence=unsure)
    views = thirds(source, s2t, plain_mix(batch.source[1]))
    config = ConfidenceConfig(mask_scaling=0.9, point_filter=0.8)
    view = thirds_view("mixed", views, confidence=config)
    assert view.mask_scales is not None
    assert view.candidates is not None
    # the car of 16 columns from the fourth on, four of them unsure; the train right of it
    assert [scales.tolist() for scales in view.mask_scales] == [[1, 1], [0.75, 1], []]
    assert [bool(where.all()) for where in view.candidates] == [True, False, True]
    assert torch.equal(view.candidates[1], unsure > 0.9)


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (ConfidenceConfig(), (False, False)),
        (ConfidenceConfig(mask_scaling=0.9), (True, False)),
        (ConfidenceConfig(point_filter=0.8), (False, True)),
    ],
    ids=["neither", "scaling", "filtering"],
)
def test_mixed_view__says_what_is_asked_for(
    batch: DomainBatch, config: ConfidenceConfig, given: tuple[bool, bool]
) -> None:
    view = mixed_view("s2t", [plain_mix(batch.source[0])], weight=1.0, confidence=config)
    assert (view.mask_scales is not None, view.candidates is not None) == given


def test_view_losses__weigh_slots(batch: DomainBatch, make_context: MakeContext) -> None:
    values: list[float] = []
    for weights in ([1.0, 1.0], [0.5, 0.5]):
        view = mixed_view("s2t", [plain_mix(batch.source[0], weights)], weight=1.0)
        torch.manual_seed(0)
        terms = view_losses([view], context=make_context(), joint=True)
        values += [float(t.value.detach()) for t in terms if t.name == "s2t/mask"]
    assert values[1] == pytest.approx(values[0] / 2)


def test_aligned_source__takes_the_colours_of_its_pair(batch: DomainBatch) -> None:
    aligned = aligned_source(batch, lab_alignment=True)
    for after, before, target in zip(aligned, batch.source, batch.target, strict=True):
        assert torch.equal(after.image, align_lab(before.image, target.image))
        assert not torch.equal(after.image, before.image)
        assert after.instances is before.instances


def test_aligned_source__can_be_off(batch: DomainBatch) -> None:
    assert aligned_source(batch, lab_alignment=False) == batch.source


def test_aligned_source__needs_source(batch: DomainBatch) -> None:
    with pytest.raises(ValueError, match=r"DomainBatch\.source must not be empty"):
        aligned_source(replace(batch, source=()), lab_alignment=False)


def test_aligned_source__needs_target_to_align_to(batch: DomainBatch) -> None:
    with pytest.raises(ValueError, match=r"method\.lab_alignment=false"):
        aligned_source(replace(batch, target=()), lab_alignment=True)
