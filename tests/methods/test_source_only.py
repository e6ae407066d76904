from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from uda4inst.methods.config import MethodConfig

from uda4inst.methods.oracle import Oracle
from uda4inst.methods.source_only import SourceOnly
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.ops.color import align_lab
from uda4inst.structures import DomainBatch

MakePainter = Callable[[], torch.nn.Module]


def test_source_only__yields_the_criterions_terms(
    batch: DomainBatch, criterion: Criterion, painter: MakePainter
) -> None:
    student = painter()
    method = SourceOnly(student, criterion, MethodConfig(lab_alignment=False))
    torch.manual_seed(0)
    terms = list(method.losses(batch, step=0))
    torch.manual_seed(0)
    images = torch.stack([s.image for s in batch.source])
    expected = criterion(student(images), [s.instances for s in batch.source])
    assert [t.name for t in terms] == ["source/class", "source/mask", "source/dice"]
    torch.testing.assert_close(sum(t.weight * t.value for t in terms), expected.total)


def test_source_only__trains_on_aligned_colours(
    batch: DomainBatch, criterion: Criterion, painter: MakePainter
) -> None:
    method = SourceOnly(painter(), criterion, MethodConfig())
    list(method.losses(batch, step=0))
    views = method.last_views
    assert views is not None
    expected = align_lab(batch.source[0].image, batch.target[0].image)
    assert torch.equal(views.source[0].image, expected)


def test_source_only__needs_no_target_without_alignment(
    batch: DomainBatch, criterion: Criterion, painter: MakePainter
) -> None:
    method = SourceOnly(painter(), criterion, MethodConfig(lab_alignment=False))
    assert len(list(method.losses(replace(batch, target=()), step=0))) == 3


@pytest.mark.parametrize("build", [SourceOnly, Oracle])
def test_bounds__have_no_state_and_no_pseudo_labels(
    build: type[SourceOnly | Oracle], criterion: Criterion, painter: MakePainter
) -> None:
    method = build(painter(), criterion, MethodConfig())
    method.load_state_dict(method.state_dict())
    assert method.state_dict() == {}
    assert method.teacher is None
    assert method.pseudo_label_counts() is None
