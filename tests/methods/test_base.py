from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from uda4inst.methods.base import aligned_source, count_labels, loss_terms, mixed_view
from uda4inst.models.criterion import Criterion, CriterionLosses
from uda4inst.ops.color import align_lab
from uda4inst.structures import DomainBatch, InstanceMap
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


def test_mixed_view__without_empty_slots_has_the_same_losses(
    batch: DomainBatch, criterion: Criterion, painter: Callable[[], nn.Module]
) -> None:
    source = batch.source[0]
    slots = torch.cat([torch.full((3,), -1), source.instances.labels])
    padded = InstanceMap(source.instances.ids + 3 * (source.instances.ids > 0).int(), slots)
    origin = torch.zeros(source.size, dtype=torch.uint8)
    view = mixed_view("s2t", [Mixed(source.image, padded, origin)], weight=1.0)
    prediction = painter()(source.image[None])
    torch.manual_seed(0)
    trimmed = criterion(prediction, view.targets)
    torch.manual_seed(0)
    whole = criterion(prediction, [padded])
    assert len(view.targets[0]) == 2
    torch.testing.assert_close(trimmed.total, whole.total)


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
