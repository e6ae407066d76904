"""Steps of every method and option on the stand-in: nothing mixes, next to nothing crosses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_cuda.device import Device
from gpu_runs import STEPS, Steps, on_gpu, take_steps
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from uda4inst.methods import METHODS
from uda4inst.models.mask2former.mask_loss import PointPool
from uda4inst.training.config import load_config

pytestmark = [pytest.mark.fake_cuda, pytest.mark.usefixtures("tiny_is_mini")]

Overrides = Callable[..., list[str]]

# What may pass in a step, by function, and whether the host waits for it. Nothing else may.
BATCH = ("uda4inst/structures.py", "moved", "to device, asynchronous")
COSTS = ("uda4inst/models/mask2former/matching.py", "assign", "to host")  # the one that waits
MATCHES = ("uda4inst/models/mask2former/matching.py", "assign", "to device, asynchronous")
OPTIONS = {
    "paper": [],
    "groups off, colours as they are": ["method.groups=one", "method.lab_alignment=false"],
    "one forward a view": ["method.joint_forward=false"],
    "thirds": ["method.mixing.batch=thirds", "training.batch_size=3"],
    "s2t alone": ["method.mixing.t2s=false"],
    "t2s alone": ["method.mixing.s2t=false"],
    "no mixing": ["method.mixing.s2t=false", "method.mixing.t2s=false"],
    "pool off": ["method.pool.enabled=false"],
    "pool by rarity and area": ["method.pool.draw_by_rarity=true", "method.pool.area_budget=0.3"],
    "authors' later code": [
        "method.mixing.blur=true",
        "method.mixing.patch_max_area=1500",
        "method.mixing.min_area=20",
    ],
    "unsure, slivers, soft, adaptive": [
        "method.unsure_threshold=0.03",
        "method.min_visible_share=0.3",
        "method.soft_weights=true",
        "method.adaptive_threshold.enabled=true",
        "method.adaptive_threshold.floor=0.05",
    ],
    "masks scaled, points filtered": [
        "method.score_threshold=0.03",
        "method.confidence.mask_scaling=0.07",
        "method.confidence.point_filter=0.068",
    ],
    "masks scaled, in thirds": [
        "method.mixing.batch=thirds",
        "training.batch_size=3",
        "method.confidence.mask_scaling=0.9",
    ],
    "checkpointing": ["model.gradient_checkpointing=true"],
    "ResNet-50, checkpointing": [
        "model.preset=r50",
        "model.weights=null",
        "data.crop=[32,64]",
        "model.gradient_checkpointing=true",
    ],
    "bf16": ["training.precision=bf16"],
    "teacher in tf32": ["training.inference_precision=tf32"],
}
ROUNDED = ("bf16", "teacher in tf32")  # the CPU has other operations in bf16, and no TF32
FULL = "training.inference_precision=fp32"


def of_task(task: str) -> list[str]:
    """Return the names of a task's methods."""
    return [name for name, spec in METHODS.items() if task in spec.tasks]


def choose_the_first(
    pool: PointPool, values: Float32[Tensor, "K C"], allowed: Bool[Tensor, "K C"] | None = None
) -> Int64[Tensor, "K P"]:
    """Return as many candidates as `PointPool.choose`, and the rest, whatever the masks say."""
    first = torch.arange(pool.chosen, device=values.device)
    rest = torch.arange(pool.candidates, len(pool.points), device=values.device)
    return torch.cat([first, rest]).expand(len(values), -1)


def assert_alike(steps: Steps, reference: Steps, *, rel: float) -> None:
    for mine, other in zip(steps.losses, reference.losses, strict=True):
        assert mine == pytest.approx(other, rel=rel)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_uda4inst__every_option_as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, options: list[str]
) -> None:
    overrides = short_run(tmp_path, "one", "method.groups=one", FULL, *options)
    steps = take_steps(load_config("toystreets_smoke", on_gpu(overrides)), gpu)
    assert not steps.unlike(BATCH, COSTS, MATCHES)
    assert steps.waits == [1] * STEPS
    assert not steps.without_gradient
    if options not in [OPTIONS[name] for name in ROUNDED]:
        reference = take_steps(load_config("toystreets_smoke", overrides), None)
        assert_alike(steps, reference, rel=1e-3)


def test_uda4inst__samples_in_triton_as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = pytest.importorskip(
        "uda4inst.models.mask2former.deformable_triton",
        reason="needs Triton, which there is for Linux (pip install triton)",
    )
    monkeypatch.setattr(kernel, "QUERIES", 64)  # its interpreter takes as long for 32
    # The kernel sums in another order, and of two points that a mask is as unsure of the last digit
    # takes one or the other: dice then differs by one point's worth. Which pairs are so near each
    # other depends on the processor.
    monkeypatch.setattr(PointPool, "choose", choose_the_first)
    settings = ["method.groups=one", FULL, "data.crop=[32,64]", "model.deformable_kernel=triton"]
    overrides = short_run(tmp_path, "one", *settings)
    steps = take_steps(load_config("toystreets_smoke", on_gpu(overrides)), gpu)
    assert gpu.operations["uda4inst::deformable_sampling_backward"]
    assert not steps.unlike(BATCH, COSTS, MATCHES)
    assert steps.waits == [1] * STEPS
    assert_alike(steps, take_steps(load_config("toystreets_smoke", overrides), None), rel=1e-3)


@pytest.mark.parametrize(
    "name", [name for name, spec in METHODS.items() if "instances" in spec.tasks]
)
def test_methods_on_instances__as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, name: str
) -> None:
    overrides = short_run(tmp_path, "one", f"method.name={name}", "method.groups=one", FULL)
    steps = take_steps(load_config("toystreets_smoke", on_gpu(overrides)), gpu)
    assert not steps.unlike(BATCH, COSTS, MATCHES)
    assert steps.waits == [1] * STEPS
    assert not steps.without_gradient
    assert_alike(steps, take_steps(load_config("toystreets_smoke", overrides), None), rel=1e-3)


@pytest.mark.parametrize(
    "name", [name for name, spec in METHODS.items() if "semantic" in spec.tasks]
)
def test_methods_on_semantics__as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, name: str
) -> None:
    overrides = short_run(tmp_path, "one", f"method.name={name}")
    steps = take_steps(load_config("toystreets_semantic_smoke", on_gpu(overrides)), gpu)
    assert not steps.unlike(BATCH)
    assert steps.waits == [0] * STEPS
    assert not steps.without_gradient
    reference = take_steps(load_config("toystreets_semantic_smoke", overrides), None)
    assert_alike(steps, reference, rel=1e-3)


def test_steps__a_value_that_is_read_is_found_with_its_line(
    gpu: Device, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "uda4inst.methods.source_only.SourceOnly.after_update",
        lambda self, step: self.context.student.state_dict().popitem()[1].sum().item(),
    )
    overrides = short_run(tmp_path, "one", "method.name=source_only", "method.groups=one")
    steps = take_steps(load_config("toystreets_smoke", on_gpu(overrides)), gpu)
    (found,) = steps.unlike(BATCH, COSTS, MATCHES)
    assert found.startswith("read")
    assert "test_steps.py" in found
