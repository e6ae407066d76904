from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from uda4inst.methods.config import MethodConfig

from uda4inst.methods.oracle import Oracle
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.structures import DomainBatch

MakePainter = Callable[[], torch.nn.Module]


def test_oracle__learns_from_labelled_target_crops_alone(
    batch: DomainBatch, criterion: Criterion, painter: MakePainter
) -> None:
    student = painter()
    method = Oracle(student, criterion, MethodConfig(name="oracle"))
    labelled = DomainBatch(source=batch.source[1:], target=batch.target[1:], labelled=batch.source)
    torch.manual_seed(0)
    terms = list(method.losses(labelled, step=0))
    torch.manual_seed(0)
    images = torch.stack([s.image for s in batch.source])
    expected = criterion(student(images), [s.instances for s in batch.source])
    assert [t.name for t in terms] == ["target/class", "target/mask", "target/dice"]
    torch.testing.assert_close(sum(t.weight * t.value for t in terms), expected.total)
    assert method.last_views is not None
    assert method.last_views.source == ()


def test_oracle__says_when_labels_are_missing(
    batch: DomainBatch, criterion: Criterion, painter: MakePainter
) -> None:
    method = Oracle(painter(), criterion, MethodConfig(name="oracle"))
    with pytest.raises(ValueError, match=r"DomainBatch\.labelled must hold"):
        list(method.losses(batch, step=0))
