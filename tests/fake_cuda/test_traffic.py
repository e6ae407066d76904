"""What the counting of bytes takes for moved, by operations that are easily counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_cuda import library
from fake_cuda.traffic import launches, traffic
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = [
    pytest.mark.fake_cuda,
    pytest.mark.skipif(bool(library.missing()), reason=str(library.missing())),
]

Case = Callable[[Tensor, Tensor], object]
CASES: dict[str, tuple[Case, int]] = {  # of 4x8 float32, 128 bytes: what is moved
    "read and written": (lambda t, _: t * 2, 256),
    "a view": (lambda t, _: t.T, 0),
    "broadcast, read once": (lambda t, _: t[:1].expand(4, 8) + t, 32 + 256),
    "changed in place": (lambda t, _: t.mul_(2), 256),
    "overwritten": (lambda t, _: t.copy_(t[:1]), 128 + 32),
    "zeroed": (lambda t, _: t.zero_(), 128),
    "zeros of its shape": (lambda t, _: torch.zeros_like(t), 128),
    "a row taken": (lambda t, row: t.index_select(0, row), 64 + 8),
    "a row put": (lambda t, row: t.index_copy_(0, row, t[:1]), 64 + 8),
    "a list in place": (lambda t, _: torch._foreach_lerp_([t], [t + 1], 0.5), 256 + 384),
    "another type on the way out": (lambda t, _: torch.gt(t, 0, out=t.new_empty(t.shape)), 256),
}


class Meter(TorchDispatchMode):
    """Adds up what is moved."""

    moved = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if launches(func):
            self.moved += traffic(func, args, kwargs or {}, result)
        return result


@pytest.mark.parametrize(("operation", "moved"), CASES.values(), ids=CASES.keys())
def test_traffic__counts_what_an_operation_reads_and_writes(operation: Case, moved: int) -> None:
    with FakeTensorMode(), Meter() as meter:
        values = torch.empty(4, 8, device="cuda")
        row = torch.empty(1, dtype=torch.int64, device="cuda")
        operation(values, row)
    assert meter.moved == moved
