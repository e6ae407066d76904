from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch
from uda4inst.methods.config import MethodConfig

from uda4inst.methods.base import (
    Views,
    aligned_source,
    class_thresholds,
    count_labels,
    loss_terms,
    mixed_view,
    thirds_view,
    view_losses,
)
from uda4inst.models.mask2former.criterion import Criterion, CriterionLosses
from uda4inst.ops.color import align_lab
from uda4inst.structures import DomainBatch, InstanceMap, Sample
from uda4inst.uda.mixing import Mixed


def test_loss_terms__weigh_by_view_and_part(criterion: Criterion) -> None:
    one, two, three = torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)
    losses = CriterionLosses(one, two, three, total=torch.tensor(27.0))
    terms = list(loss_terms("s2t", losses, weight=0.4, criterion=criterion))
    assert [t.name for t in terms] == ["s2t/class", "s2t/mask", "s2t/dice"]
    assert [float(t.value) for t in terms] == [1, 2, 3]
    assert [t.weight for t in terms] == [0.8, 2, 2]


def test_count_labels__leaves_out_empty_slots() -> None:
    ids = torch.zeros(2, 2, dtype=torch.int32)
    maps = [InstanceMap(ids, torch.tensor(labels)) for labels in ([0, -1, 7], [7, -1])]
    assert count_labels(maps).tolist() == [1, 0, 0, 0, 0, 0, 0, 2]


def plain_mix(sample: Sample, weights: list[float] | None = None) -> Mixed:
    origin = torch.zeros(sample.size, dtype=torch.uint8)
    given = None if weights is None else torch.tensor(weights)
    return Mixed(sample.image, sample.instances, origin, given)


def test_mixed_view__leaves_out_pairs_that_are_not_mixed(batch: DomainBatch) -> None:
    first, second = (plain_mix(sample) for sample in batch.source)
    view = mixed_view("s2t", [None, first, None, second], weight=0.4)
    assert view.images == [first.image, second.image]
    assert (view.name, view.weight, view.slot_weights) == ("s2t", 0.4, None)


def test_thirds_view__takes_one_image_of_every_pair(batch: DomainBatch) -> None:
    source = (batch.source[0],) * 3
    s2t, t2s = plain_mix(batch.source[1]), plain_mix(batch.source[1])
    view = thirds_view("mixed", Views(source=source, s2t=(None, s2t, None), t2s=(None, None, t2s)))
    assert [id(i) for i in view.images] == [id(c.image) for c in (source[0], s2t, t2s)]
    assert view.targets == [source[0].instances, s2t.instances, t2s.instances]
    assert (view.name, view.weight, view.slot_weights) == ("mixed", 1, None)


def test_thirds_view__weighs_the_slots_of_a_plain_crop_by_one(batch: DomainBatch) -> None:
    source = batch.source[:1] * 3
    s2t, t2s = plain_mix(source[0], [0.5, 0.25]), plain_mix(batch.source[1], [])
    view = thirds_view("mixed", Views(source=source, s2t=(None, s2t, None), t2s=(None, None, t2s)))
    assert view.slot_weights is not None
    assert [w.tolist() for w in view.slot_weights] == [[1, 1], [0.5, 0.25], []]


def test_view_losses__weigh_slots(batch: DomainBatch, criterion: Criterion, painter: Any) -> None:
    values: list[float] = []
    for weights in ([1.0, 1.0], [0.5, 0.5]):
        view = mixed_view("s2t", [plain_mix(batch.source[0], weights)], weight=1.0)
        torch.manual_seed(0)
        terms = view_losses([view], forward=painter(), criterion=criterion, joint=True)
        values += [float(t.value.detach()) for t in terms if t.name == "s2t/mask"]
    assert values[1] == pytest.approx(values[0] / 2)


def test_class_thresholds__cannot_be_reached_by_other_classes() -> None:
    thresholds = class_thresholds(MethodConfig(groups="one", classes=("car", "bus")), 0.7)
    assert thresholds.tolist() == pytest.approx([inf, inf, 0.7, inf, 0.7, inf, inf, inf])


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
