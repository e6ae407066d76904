"""On a real GPU: the deformable attention's kernel in Triton against torch's operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from deformable_cases import Case, compare, make_case
from gpu_runs import on_gpu, take_steps

from uda4inst.training.config import load_config

kernel: Any = pytest.importorskip(
    "uda4inst.models.mask2former.deformable_triton",
    reason="needs Triton, which there is for Linux (pip install triton)",
)
pytestmark = pytest.mark.gpu

SIZES = ((32, 32), (64, 64), (128, 128))  # of an image of 1024x1024


@pytest.fixture
def case() -> Case:
    """Swin-L's pixel decoder; what is sampled lies at sixteenths of cells, exact in bf16.

    So no rounding moves a point over a cell's border, where gradients of offsets jump.
    """
    cells = sum(tall * wide for tall, wide in SIZES)
    made = make_case(SIZES, images=2, heads=8, channels=32, points=4, queries=cells)
    random = torch.Generator().manual_seed(0)
    offsets = torch.randint(-64, 64, made.offsets.shape, generator=random) / 8 + 1 / 16
    centres = (torch.randint(0, 32, made.centres.shape, generator=random) + 0.5) / 32
    return replace(made, offsets=offsets, centres=centres)


@pytest.mark.parametrize(
    ("dtype", "close"),
    [
        pytest.param(torch.float32, 1e-4, id="fp32"),
        pytest.param(torch.bfloat16, torch.finfo(torch.bfloat16).eps, id="bf16"),
    ],
)
def test_sample__is_torchs_with_gradients(case: Case, dtype: torch.dtype, close: float) -> None:
    compare(kernel.sample, case.to("cuda", dtype), rtol=close, atol=close)


@pytest.mark.parametrize(("precision", "rel"), [("fp32", 1e-3), ("bf16", 0.05)])
def test_steps__have_the_same_losses_with_the_kernel(
    short_run: Callable[..., list[str]], tmp_path: Path, precision: str, rel: float
) -> None:
    settings = ["method.groups=one", f"training.precision={precision}"]
    mine, other = (
        take_steps(
            load_config(
                "toystreets_smoke",
                on_gpu(short_run(tmp_path, name, *settings, f"model.deformable_kernel={name}")),
            ),
            None,
        )
        for name in ("triton", "torch")
    )
    assert not mine.without_gradient
    assert mine.losses[0] == pytest.approx(other.losses[0], rel=rel)
