"""The path of other devices, taken on the CPU."""

from __future__ import annotations

import pytest

from uda4inst.models.mask2former import kernels


@pytest.fixture
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the CPU the way of a GPU: fused kernels, and less kept for the backward pass."""
    monkeypatch.setattr(kernels, "REFERENCE_ON", frozenset[str]())
