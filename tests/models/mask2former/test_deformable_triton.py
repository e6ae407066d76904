"""The kernel in Triton against torch's operations; in Triton's interpreter where there is no card.

Triton must know that before it is imported: tests/conftest.py sees to it.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from deformable_cases import Case, compare, make_case
from mini_network import MINI
from torch import Tensor

from uda4inst.models.mask2former.network import Mask2Former

kernel: Any = pytest.importorskip(
    "uda4inst.models.mask2former.deformable_triton",
    reason="needs Triton, which there is for Linux (pip install triton)",
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CASES = {
    "three levels, two images": make_case(((2, 3), (3, 5), (5, 8)), images=2),
    "one cell, one row, odd channels": make_case(((1, 1), (1, 6)), heads=3, channels=5),
    "far outside": make_case(((4, 4),), reach=20.0, points=4),
    "more queries than a program takes": make_case(((5, 3),), heads=1, queries=40, points=1),
}
SMALL = make_case(((2, 3), (4, 6)), points=1)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_sample__is_torchs_with_gradients(case: Case) -> None:
    compare(kernel.sample, case.to(DEVICE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sample__rounds_nothing_but_its_results(dtype: torch.dtype) -> None:
    step = torch.finfo(dtype).eps
    compare(kernel.sample, SMALL.to(DEVICE, dtype), rtol=step, atol=step)


@pytest.mark.parametrize(
    ("offset", "wanted"),
    [
        pytest.param((0.0, 0.0), [1, 2, 3, 4], id="cells themselves"),
        pytest.param((0.5, 0.0), [1.5, 2.5, 3.5, 2], id="half a cell right"),
        pytest.param((-0.5, 0.0), [0.5, 1.5, 2.5, 3.5], id="half a cell left"),
        pytest.param((-1.0, 0.0), [0, 1, 2, 3], id="a cell left"),
        pytest.param((3.25, 0.0), [3, 0, 0, 0], id="beyond the right edge"),
        pytest.param((0.0, 0.75), [0.25, 0.5, 0.75, 1], id="below the lower edge"),
        pytest.param((0.0, -1.0), [0, 0, 0, 0], id="a cell above"),
        pytest.param((1e30, 0.0), [0, 0, 0, 0], id="very far"),
        pytest.param((math.inf, math.nan), [0, 0, 0, 0], id="nowhere"),
    ],
)
def test_sample__is_zero_outside_and_straight_between(
    offset: tuple[float, float], wanted: list[float]
) -> None:
    centres = torch.tensor([[0.125, 0.5], [0.375, 0.5], [0.625, 0.5], [0.875, 0.5]], device=DEVICE)
    found = kernel.sample(
        torch.tensor([1.0, 2.0, 3.0, 4.0], device=DEVICE).view(1, 4, 1, 1),
        centres.view(1, 4, 1, 2),
        torch.tensor(offset, device=DEVICE).expand(1, 4, 1, 1, 1, 2),
        torch.ones(1, 4, 1, 1, 1, device=DEVICE),
        [(1, 4)],
    )
    assert found.flatten().tolist() == wanted


def test_sample__takes_parts_of_larger_tensors() -> None:
    case = SMALL.to(DEVICE)
    images, queries = case.offsets.shape[:2]
    both = torch.cat([case.offsets.flatten(2), case.weights.flatten(2)], dim=2)
    offsets, weights = both.split([case.offsets[0, 0].numel(), case.weights[0, 0].numel()], dim=2)
    pieces = replace(
        case,
        values=case.values.transpose(2, 3).contiguous().transpose(2, 3),
        centres=case.centres[:, :, :1].expand(-1, -1, 2, -1),
        offsets=offsets.view(case.offsets.shape),
        weights=weights.view(case.weights.shape),
    )
    whole = replace(case, centres=pieces.centres.contiguous())
    assert not any(t.is_contiguous() for t in pieces.inputs[:4] if len(t) == images)
    assert torch.equal(kernel.sample(*pieces.inputs), kernel.sample(*whole.inputs)), queries


def test_sample__of_nothing_is_nothing() -> None:
    case = SMALL.to(DEVICE)
    nothing = replace(case, centres=case.centres[:, :0], offsets=case.offsets[:, :0])
    found = kernel.sample(*replace(nothing, weights=case.weights[:, :0]).inputs)
    assert found.shape == (1, 0, 16)
    gradients = torch.autograd.grad(found.sum(), case.values)
    assert not gradients[0].any()


def test_sample__keeps_nothing_without_gradients() -> None:
    case = SMALL.to(DEVICE)
    with torch.no_grad():
        assert kernel.sample(*case.inputs).grad_fn is None


def test_sample__says_that_its_gradient_does_not_repeat() -> None:
    total = kernel.sample(*SMALL.to(DEVICE).inputs).sum()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.warns(UserWarning, match="never repeats to the bit"):
            total.backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_operation__is_as_torch_wants_operations() -> None:
    case = SMALL.to(DEVICE)
    sides = [side for size in case.sizes for side in size]
    torch.library.opcheck(
        kernel._sampling,
        (*case.inputs[:4], sides),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sizes": ((2, 3), (4, 5))}, r"sizes of S cells together, got values \(1, 30, 2, 8\)"),
        ({"weights": torch.ones(1, 7, 2, 2)}, r"weights \(1, 7, 2, 2\) torch.float32"),
        ({"values": torch.ones(1, 30, 2, 8, dtype=torch.float64)}, "bfloat16 or float32"),
        ({"centres": torch.rand(1, 7, 2, 2, requires_grad=True)}, "centres must not need"),
    ],
    ids=["sizes", "weights", "type", "gradient of centres"],
)
def test_sample__refuses_what_does_not_go_together(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kernel.sample(*replace(SMALL, **change).inputs)


@pytest.mark.usefixtures("as_on_a_device")
@pytest.mark.parametrize(
    ("checkpointing", "bf16"),
    [
        pytest.param(False, False, id="fp32"),
        pytest.param(True, True, id="bf16, checkpointed"),
    ],
)
def test_pixel_decoder__is_the_same_with_the_kernel(checkpointing: bool, bf16: bool) -> None:
    found, wanted = (
        _features_and_gradients(name, checkpointing=checkpointing, bf16=bf16)
        for name in ("triton", "torch")
    )
    close = 2e-2 if bf16 else 1e-4
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close)


def _features_and_gradients(name: Any, *, checkpointing: bool, bf16: bool) -> list[Tensor]:
    """Return a pixel decoder's features and the gradients of its inputs and weights."""
    torch.manual_seed(0)
    preset = replace(MINI, attention_heads=2)
    network = Mask2Former(preset, gradient_checkpointing=checkpointing, deformable_kernel=name)
    decoder = network.to(DEVICE).network.model.pixel_level_module.decoder
    features = [
        torch.randn(2, 8 * 2**level, 8 >> level, 16 >> level, device=DEVICE, requires_grad=True)
        for level in range(4)
    ]
    with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=bf16):
        output = decoder(features)
    maps = [output.mask_features.float(), *(m.float() for m in output.multi_scale_features)]
    total = torch.stack([m.square().mean() for m in maps]).sum()
    wanted = [*features, *(p for p in decoder.parameters() if p.requires_grad)]
    return [*(m.detach() for m in maps), *torch.autograd.grad(total, wanted)]


def test_kernels__compile_for_a_card() -> None:
    """The interpreter takes what the compiler refuses."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[2] / "support" / "compile_kernels.py"), "90"],
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["forward", "backward"]
