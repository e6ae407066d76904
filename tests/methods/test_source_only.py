from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from uda4inst.methods.base import MethodContext
from uda4inst.methods.oracle import Oracle, OracleConfig
from uda4inst.methods.source_only import SourceOnly, SourceOnlyConfig
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.ops.color import align_lab
from uda4inst.structures import DomainBatch

MakeContext = Callable[..., MethodContext]


def test_source_only__yields_the_criterions_terms(
    batch: DomainBatch, criterion: Criterion, make_context: MakeContext
) -> None:
    context = make_context()
    method = SourceOnly(context, SourceOnlyConfig(lab_alignment=False))
    torch.manual_seed(0)
    terms = list(method.losses(method.prepare(batch, 0), 0))
    torch.manual_seed(0)
    images = torch.stack([s.image for s in batch.source])
    expected = criterion(context.student(images), [s.known_instances() for s in batch.source])
    assert [t.name for t in terms] == ["source/class", "source/mask", "source/dice"]
    torch.testing.assert_close(sum(t.weight * t.value for t in terms), expected.total)


def test_source_only__trains_on_aligned_colours(
    batch: DomainBatch, make_context: MakeContext
) -> None:
    views = SourceOnly(make_context(), SourceOnlyConfig()).prepare(batch, 0)
    expected = align_lab(batch.source[0].image, batch.target[0].image)
    assert torch.equal(views.source[0].image, expected)


def test_source_only__needs_no_target_without_alignment(
    batch: DomainBatch, make_context: MakeContext
) -> None:
    method = SourceOnly(make_context(), SourceOnlyConfig(lab_alignment=False))
    views = method.prepare(replace(batch, target=()), 0)
    assert len(list(method.losses(views, 0))) == 3


@pytest.mark.parametrize(
    ("lab_alignment", "sees"), [(True, "pair"), (False, "source")], ids=["aligned", "plain"]
)
def test_source_only__sees_targets_for_their_colours_alone(lab_alignment: bool, sees: str) -> None:
    assert SourceOnlyConfig(lab_alignment=lab_alignment).sees == sees


@pytest.mark.parametrize(
    ("build", "config"),
    [(SourceOnly, SourceOnlyConfig()), (Oracle, OracleConfig())],
    ids=["source_only", "oracle"],
)
def test_bounds__have_no_state_and_no_figures(
    build: Any, config: Any, batch: DomainBatch, make_context: MakeContext
) -> None:
    context = make_context()
    method = build(context, config)
    method.load_state_dict(method.state_dict())
    assert method.state_dict() == {}
    assert dict(method.networks) == {"student": context.student}
    assert method.figures(method.prepare(replace(batch, labelled=batch.source), 0)) == {}
