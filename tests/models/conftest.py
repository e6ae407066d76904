"""Predictions and id maps made by hand, and one tiny network for the whole session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from uda4inst.models.mask2former.network import Mask2Former, build_model
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import InstanceMap

MakePrediction = Callable[..., Prediction]
MakeMap = Callable[..., InstanceMap]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors are slower on more threads, and other workers share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_prediction() -> MakePrediction:
    """Random logits that ask for gradients: `layers` x `images` x `queries` over `size` pixels."""

    def make(
        size: tuple[int, int], *, layers: int = 3, images: int = 2, queries: int = 6, seed: int = 0
    ) -> Prediction:
        generator = torch.Generator().manual_seed(seed)
        height, width = (-(-side // 32) * 8 for side in size)
        return Prediction(
            torch.randn(layers, images, queries, 9, generator=generator).requires_grad_(),
            (3 * torch.randn(layers, images, queries, height, width, generator=generator))
            .requires_grad_()
            .unbind(),
            size,
        )

    return make


@pytest.fixture
def make_map() -> MakeMap:
    """An id map of random rectangles; later ones cover earlier ones."""

    def make(size: tuple[int, int], labels: Sequence[int], *, seed: int = 0) -> InstanceMap:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.zeros(size, dtype=torch.int32)
        for slot in range(1, len(labels) + 1):
            top, left = (int(torch.randint(0, side - 8, (), generator=generator)) for side in size)
            tall, wide = (int(torch.randint(4, 40, (), generator=generator)) for _ in size)
            ids[top : top + tall, left : left + wide] = slot
        return InstanceMap(ids, torch.tensor(labels, dtype=torch.int64))

    return make


@pytest.fixture
def same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every draw of points depend on its number of points alone, as a table of them.

    The library draws per image and layer, we once for all: with this both see the same points.
    """

    def table(*shape: Any, **_: object) -> Tensor:
        wanted: tuple[int, ...] = shape[0] if isinstance(shape[0], tuple) else shape
        rows = torch.empty(wanted[-2:])
        rows.uniform_(generator=torch.Generator().manual_seed(wanted[-2]))
        return rows.expand(*wanted).clone()

    monkeypatch.setattr(torch, "rand", table)


@pytest.fixture(scope="session")
def tiny_model() -> Mask2Former:
    """The tiny network, freshly initialised from seed 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model("tiny", weights=None)[0]
