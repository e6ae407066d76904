"""A network small enough to read, and batches drawn by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from painter import Painter

from uda4inst.methods.base import MethodContext
from uda4inst.methods.uda4inst import UDA4Inst, UDA4InstConfig
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch, InstanceMap, Sample, TargetSample
from uda4inst.tasks.instances import INSTANCES, InstanceLoss

SIZE = (32, 64)
CAR, TRAIN = 2, 5


def draw_map(*boxes: tuple[int, int, int, int, int]) -> InstanceMap:
    """Draw instances as (top, left, bottom, right, label), later ones on top."""
    ids = torch.zeros(SIZE, dtype=torch.int32)
    for slot, (top, left, bottom, right, _) in enumerate(boxes, start=1):
        ids[top:bottom, left:right] = slot
    return InstanceMap(ids, torch.tensor([box[-1] for box in boxes], dtype=torch.int64))


def make_source(name: str, *boxes: tuple[int, int, int, int, int], seed: int = 0) -> Sample:
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(seed))
    return Sample(image, name, "source", instances=draw_map(*boxes))


def make_target(name: str = "target", *, ego_rows: int = 0, seed: int = 1) -> TargetSample:
    image = 0.5 * torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(seed))
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[SIZE[0] - ego_rows :] = False
    return TargetSample(image, valid, name)


def pair(*boxes: tuple[int, int, int, int, int], ego_rows: int = 0) -> DomainBatch:
    """Return a batch of one source crop with these instances and one target crop."""
    return DomainBatch((make_source("source", *boxes),), (make_target(ego_rows=ego_rows),))


@pytest.fixture
def criterion() -> Criterion:
    return Criterion(num_points=64)


@pytest.fixture
def batch() -> DomainBatch:
    """Two pairs; the first source crop holds a car and a train, the second nothing."""
    return DomainBatch(
        source=(
            make_source("first", (20, 4, 28, 20, CAR), (4, 40, 12, 60, TRAIN)),
            make_source("second", seed=2),
        ),
        target=(make_target("left"), make_target("right", seed=3)),
    )


@pytest.fixture
def batch_of() -> Callable[..., DomainBatch]:
    return pair


@pytest.fixture
def painter() -> type[Painter]:
    return Painter


@pytest.fixture
def make_context(criterion: Criterion) -> Callable[..., MethodContext]:
    """Give a method a student, a painter by default, and a loss on few points."""

    def make(
        student: Network | None = None, *, forward: Any = None, seed: int = 0, rank: int = 0
    ) -> MethodContext:
        student = student or Painter()
        loss = InstanceLoss(criterion)
        return MethodContext(student, INSTANCES, loss, forward or student, seed=seed, rank=rank)

    return make


@pytest.fixture
def make_method(make_context: Callable[..., MethodContext]) -> Callable[..., UDA4Inst]:
    """Build UDA4Inst around a painter; keywords are the configuration's."""

    def make(
        student: Network | None = None, *, seed: int = 0, rank: int = 0, **config: object
    ) -> UDA4Inst:
        settings = UDA4InstConfig.model_validate(config)
        return UDA4Inst(make_context(student, seed=seed, rank=rank), settings)

    return make
