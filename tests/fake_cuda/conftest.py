"""Every test here runs with one GPU that is not there (`pytest -m fake_cuda`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_cuda import library
from fake_cuda.device import Device


@pytest.fixture
def gpu() -> Iterator[Device]:
    if reason := library.missing():
        pytest.skip(reason)
    with Device() as device:
        yield device
