"""Batches as a loader hands them to a GPU: on the host, in page-locked memory."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def pinned(value: Any) -> Any:
    """Return a batch, or a part of one, with its tensors in page-locked memory."""
    if isinstance(value, Tensor):
        return value.pin_memory()
    if isinstance(value, tuple):
        return tuple(pinned(one) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: pinned(getattr(value, f.name)) for f in fields(value)})
    return value
