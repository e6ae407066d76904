"""Whole runs on the stand-in: trained, kept, looked at and judged as on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_cuda.device import Device
from gpu_runs import Watched, assert_alike, train
from safetensors.torch import load_file

from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.training import launch
from uda4inst.training.validation import evaluate_checkpoint

pytestmark = [pytest.mark.fake_cuda, pytest.mark.usefixtures("tiny_is_mini")]

Overrides = Callable[..., list[str]]

# What may pass in a step of the loop, by function. Nothing else may, and one of them waits.
PERMITTED = {
    ("uda4inst/structures.py", "moved", "to device, asynchronous"),  # the batch
    ("uda4inst/models/mask2former/matching.py", "assign", "to host"),  # the one that waits
    ("uda4inst/models/mask2former/matching.py", "assign", "to device, asynchronous"),
    ("uda4inst/training/journal.py", "_fetch", "to host, asynchronous"),  # losses
    ("uda4inst/training/journal.py", "_host", "to host, asynchronous"),  # figures
}
SHORT = [
    "method.groups=one",
    "training.stage1_steps=2",
    "training.stage2_steps=4",
    "training.checkpoint_every=3",
    "training.snapshot_every=0",
    "training.log_every=1",
    "evaluation.stage1=false",
]
# Steps of such a run that no checkpoint or evaluation comes before.
STEADY = (2, 5)


def forbidden(run: Watched) -> Counter[str]:
    """Return what crossed in steady steps and is not permitted."""
    found: Counter[str] = Counter()
    for crossing in (c for step in STEADY for c in run.crossings[step]):
        line, function = crossing.place.split(" ")
        if (line.split(":")[0], function, crossing.kind) not in PERMITTED:
            found[str(crossing)] += 1
    return found


def test_loop__waits_once_a_step(gpu: Device, short_run: Overrides, tmp_path: Path) -> None:
    run = train(gpu, "toystreets_smoke", short_run(tmp_path, "device", *SHORT))
    assert not forbidden(run)
    assert [sum(c.waits for c in run.crossings[step]) for step in STEADY] == [1, 1]


def test_run__is_kept_looked_at_and_judged_as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path
) -> None:
    settings = [*SHORT, "training.snapshot_every=2", "training.inference_precision=fp32"]
    here = train(None, "toystreets_smoke", short_run(tmp_path, "host", *settings))
    there = train(gpu, "toystreets_smoke", short_run(tmp_path, "device", *settings))
    assert_alike(there.metrics, here.metrics)
    for name in ("student", "teacher"):
        mine, reference = learned(there, name), learned(here, name)
        assert (mine - reference).norm() < 0.1 * reference.norm(), name
    one, other = (read_snapshot(run.run, 4) for run in (there, here))
    for mine, reference in zip(one.items, other.items, strict=True):
        assert mine.s2t is not None
        assert reference.s2t is not None
        np.testing.assert_allclose(mine.s2t.image, reference.s2t.image, atol=1)
        np.testing.assert_array_equal(mine.s2t.ids, reference.s2t.ids)


def test_run__of_a_gpu_goes_on_without_one(
    gpu: Device, short_run: Overrides, tmp_path: Path
) -> None:
    run = train(gpu, "toystreets_smoke", short_run(tmp_path, "device", *SHORT)).run
    state = torch.load(run.checkpoints / "00000003" / "state.pt", weights_only=True)
    assert {t.device.type for t in _tensors(state)} == {"cpu"}
    run.config.write_text(run.config.read_text().replace("device: auto", "device: cpu"))
    assert launch.resume(run, step=3, may_replace=True).state == "finished"


def test_run__of_two_groups(gpu: Device, short_run: Overrides, tmp_path: Path) -> None:
    overrides = short_run(tmp_path, "device", *SHORT[1:], "method.groups=two")
    run = train(gpu, "toystreets_smoke", overrides).run
    assert (run.evaluation / "00000006.json").is_file()


def test_run__of_semantic_segmentation(gpu: Device, short_run: Overrides, tmp_path: Path) -> None:
    settings = [*SHORT, "method.name=source_only", "training.snapshot_every=3"]
    here = train(None, "toystreets_semantic_smoke", short_run(tmp_path, "host", *settings))
    there = train(gpu, "toystreets_semantic_smoke", short_run(tmp_path, "device", *settings))
    assert_alike(there.metrics, here.metrics)


def test_evaluate__a_checkpoint_as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path
) -> None:
    overrides = short_run(tmp_path, "device", *SHORT, "training.inference_precision=fp32")
    run = train(gpu, "toystreets_smoke", overrides).run
    there = evaluate_checkpoint(run)
    run.config.write_text(run.config.read_text().replace("device: auto", "device: cpu"))
    here = evaluate_checkpoint(RunDir(run.path))
    assert there["results"] == here["results"]


def learned(run: Watched, name: str) -> torch.Tensor:
    """Return what a network's weights changed by between the two checkpoints of a short run."""
    before, after = (
        load_file(run.run.checkpoints / step / f"{name}.safetensors")
        for step in ("00000003", "00000006")
    )
    return torch.cat([(after[key] - before[key]).flatten() for key in sorted(after)])


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, dict):
        return [t for item in value.values() for t in _tensors(item)]
    if isinstance(value, list | tuple):
        return [t for item in value for t in _tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []
