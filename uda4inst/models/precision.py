"""In which precision a network runs that is not being trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

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
        # By the older of torch's two interfaces: its readers fail after the newer one was used.
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        try:
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
            torch.backends.cudnn.allow_tf32 = precision == "tf32"
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]
