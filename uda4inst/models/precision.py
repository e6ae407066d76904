"""In which precision a network runs that is not being trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Precision = Literal["fp32", "tf32", "bf16"]


@contextmanager
def inference_precision(precision: Precision, device: torch.device | str) -> Iterator[None]:
    """Run what is inside in a precision; whatever was set before is set again after.

    Args:
        precision: "tf32" keeps 10 bits of the factors of products and convolutions where the card
            can (from Ampere on), and is fp32 everywhere else; "bf16" is autocast.
        device: where it runs.
    """
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16"):
        if kind != "cuda" or precision == "bf16":
            yield
            return
        convolutions: Any = torch.backends.cudnn  # `conv` is made at import
        switches = (torch.backends.cuda.matmul, convolutions.conv)
        before = [switch.fp32_precision for switch in switches]
        try:
            for switch in switches:
                switch.fp32_precision = "tf32" if precision == "tf32" else "ieee"
            yield
        finally:
            for switch, old in zip(switches, before, strict=True):
                switch.fp32_precision = old
