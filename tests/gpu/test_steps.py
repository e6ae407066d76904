"""On a real GPU: the step waits once, losses are the CPU's, runs go on where they were cut."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from gpu_runs import STEPS, assert_alike, on_gpu, take_steps, train

from uda4inst.methods import METHODS
from uda4inst.training import launch
from uda4inst.training.batches import open_batches, open_data
from uda4inst.training.config import Config, load_config
from uda4inst.training.memory import estimate, full_batch, rehearse
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session
from uda4inst.training.step import take_step

pytestmark = pytest.mark.gpu

Overrides = Callable[..., list[str]]
FULL = "training.inference_precision=fp32"


@pytest.fixture(autouse=True)
def free_memory() -> Iterator[None]:
    yield
    torch.cuda.empty_cache()


def config_of(short_run: Overrides, root: Path, *more: str) -> Config:
    overrides = short_run(root, "one", "method.groups=one", *more)
    return load_config("toystreets_smoke", on_gpu(overrides))


@pytest.mark.parametrize("kernel", ["torch", "triton"])
def test_step__waits_once(short_run: Overrides, tmp_path: Path, kernel: str) -> None:
    config = config_of(short_run, tmp_path, f"model.deformable_kernel={kernel}")
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        session.enter_stage_2()
        batches = open_batches(config, processes, open_data(config).trees, first_step=0)
        for _ in range(2):  # first use of a kernel may synchronise
            take_step(session, next(batches))
        batch = next(batches)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                taken = take_step(session, batch)
                session.stage.method.figures(taken.views)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits = [str(w.filename) for w in told if "called a synchronizing" in str(w.message)]
        assert len(waits) == 1, waits
        batches.close()
    finally:
        processes.leave()


@pytest.mark.parametrize("name", [n for n, spec in METHODS.items() if "instances" in spec.tasks])
def test_methods__give_the_cpus_losses(short_run: Overrides, tmp_path: Path, name: str) -> None:
    # The same batches, and points of another generator: losses are near, not equal.
    more = [f"method.name={name}", FULL, "model.num_points=4096"]
    there = take_steps(config_of(short_run, tmp_path, *more), None)
    overrides = short_run(tmp_path, "one", "method.groups=one", *more)
    here = take_steps(load_config("toystreets_smoke", overrides), None)
    assert not there.without_gradient
    assert len(there.losses) == STEPS
    assert there.losses[0] == pytest.approx(here.losses[0], rel=0.05)


def test_run__in_bf16_with_checkpointing_ends_and_goes_on(
    short_run: Overrides, tmp_path: Path
) -> None:
    settings = ["training.precision=bf16", "model.gradient_checkpointing=true"]
    run = train(None, "toystreets_smoke", on_gpu(short_run(tmp_path, "one", *settings))).run
    assert launch.resume(run, step=10, may_replace=True).state == "finished"


def test_rehearse__peak_is_near_the_estimate(short_run: Overrides, tmp_path: Path) -> None:
    config = config_of(
        short_run,
        tmp_path,
        "data.crop=[512,1024]",
        "training.batch_size=3",
        "model.num_points=12544",
    )
    counted = estimate(config)
    assert counted is not None
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        rehearse(session)
        session.enter_stage_2()
        batch = full_batch(config, processes.device)
        torch.cuda.reset_peak_memory_stats()
        for _ in range(2):
            take_step(session, batch)
        peak = torch.cuda.max_memory_allocated() / 2**30
        assert peak == pytest.approx(counted.stage2, rel=0.25)
    finally:
        processes.leave()


def test_runs__of_one_seed_are_alike(short_run: Overrides, tmp_path: Path) -> None:
    one, other = (
        train(None, "toystreets_smoke", on_gpu(short_run(tmp_path, name, "method.groups=one")))
        for name in ("one", "other")
    )
    assert_alike(one.metrics[:3], other.metrics[:3])
