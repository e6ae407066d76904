"""8-bit pictures as floats."""

from __future__ import annotations

import pytest
import torch

from uda4inst.ops.unit_floats import unit_floats

EVERY = torch.arange(256, dtype=torch.uint8)
EXPECTED = [value / 255 for value in range(256)]


def test_unit_floats__are_the_nearest_floats() -> None:
    assert (
        unit_floats(EVERY).tolist() == torch.tensor(EXPECTED, dtype=torch.float64).float().tolist()
    )


@pytest.mark.gpu
def test_unit_floats__are_the_same_on_a_gpu() -> None:
    assert unit_floats(EVERY.cuda()).tolist() == unit_floats(EVERY).tolist()
