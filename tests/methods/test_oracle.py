from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from uda4inst.methods.base import MethodContext
from uda4inst.methods.oracle import Oracle, OracleConfig
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.structures import DomainBatch

MakeContext = Callable[..., MethodContext]


def test_oracle__learns_from_labelled_target_crops_alone(
    batch: DomainBatch, criterion: Criterion, make_context: MakeContext
) -> None:
    context = make_context()
    method = Oracle(context, OracleConfig())
    labelled = DomainBatch(source=batch.source[1:], target=batch.target[1:], labelled=batch.source)
    torch.manual_seed(0)
    views = method.prepare(labelled, 0)
    terms = list(method.losses(views, 0))
    torch.manual_seed(0)
    images = torch.stack([s.image for s in batch.source])
    expected = criterion(context.student(images), [s.known_instances() for s in batch.source])
    assert [t.name for t in terms] == ["target/class", "target/mask", "target/dice"]
    torch.testing.assert_close(sum(t.weight * t.value for t in terms), expected.total)
    assert views.source == ()


def test_oracle__says_when_labels_are_missing(
    batch: DomainBatch, make_context: MakeContext
) -> None:
    method = Oracle(make_context(), OracleConfig())
    with pytest.raises(ValueError, match=r"DomainBatch\.labelled must hold"):
        method.prepare(batch, 0)
