"""What is said and tried before the first step on a GPU, on the stand-in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_cuda.device import Device
from gpu_runs import on_gpu, train
from safetensors.torch import load_file

from uda4inst.errors import UserError
from uda4inst.methods.uda4inst import UDA4Inst
from uda4inst.models import memory as models_memory
from uda4inst.run_folder.checkpoints import latest_step
from uda4inst.run_folder.layout import RunDir
from uda4inst.training import launch
from uda4inst.training import memory as training_memory
from uda4inst.training.config import Config, load_config
from uda4inst.training.journal import RunFailedError
from uda4inst.training.memory import check_memory, rehearse
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session

pytestmark = [pytest.mark.fake_cuda, pytest.mark.usefixtures("tiny_is_mini")]

Overrides = Callable[..., list[str]]
GIB = 2**30
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network take 20 GiB a megapixel and image, 5 with checkpointing."""
    values = {"fp32": 20.0, "fp32, checkpointed": 5.0}
    networks = {"tiny": {"parameters": 2**20, "gib_per_megapixel": values}}
    monkeypatch.setattr(models_memory, "_counted", lambda: networks)


def config_of(short_run: Overrides, root: Path, *more: str) -> Config:
    overrides = short_run(root, "one", "method.groups=one", "data.crop=[512,1024]", *more)
    return load_config("toystreets_smoke", on_gpu(overrides))


def card(monkeypatch: pytest.MonkeyPatch, *, free: float, total: float) -> torch.device:
    answer = int(free * GIB), int(total * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _=None: answer)
    return torch.device("cuda")


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("free", "total", "said"),
    [
        pytest.param(30, 30, r"Set model\.gradient_checkpointing=true: about 11 GiB", id="fits"),
        pytest.param(
            8,
            8,
            r"Set model\.gradient_checkpointing=true training\.batch_size=1: about 6 GiB",
            id="fewer images",
        ),
        pytest.param(1, 1, r"Take a smaller model\.preset or data\.crop", id="nothing fits"),
        pytest.param(10, 80, "other programs hold 70 GiB", id="taken"),
    ],
)
def test_check_memory__refuses_what_will_not_fit_and_says_what_would(
    short_run: Overrides,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: float,
    total: float,
    said: str,
) -> None:
    config = config_of(short_run, tmp_path)
    device = card(monkeypatch, free=free, total=total)
    with pytest.raises(UserError, match=said):
        check_memory(config, device)


@pytest.mark.usefixtures("counted")
def test_check_memory__lets_pass_what_fits_or_is_wanted_all_the_same(
    short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_memory(config_of(short_run, tmp_path), card(monkeypatch, free=60, total=80))
    wanted = config_of(short_run, tmp_path, "training.rehearse_memory=false")
    check_memory(wanted, card(monkeypatch, free=1, total=1))


def test_rehearse__leaves_nothing_behind(gpu: Device, short_run: Overrides, tmp_path: Path) -> None:
    settings = ["method.groups=one", "training.stage1_steps=2", "training.stage2_steps=2"]
    with_rehearsal = train(gpu, "toystreets_smoke", short_run(tmp_path, "with", *settings))
    without = train(
        gpu,
        "toystreets_smoke",
        short_run(tmp_path, "without", *settings, "training.rehearse_memory=false"),
    )
    for name in ("student", "teacher"):
        one, other = (
            load_file(r.run.checkpoints / "00000004" / f"{name}.safetensors")
            for r in (with_rehearsal, without)
        )
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    assert [line["losses"] for line in with_rehearsal.metrics] == [
        line["losses"] for line in without.metrics
    ]


def test_rehearse__tries_both_stages(
    gpu: Device, short_run: Overrides, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(short_run, tmp_path, "data.crop=[64,128]")
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        before = {name: p.cpu() for name, p in session.student.named_parameters()}
        state = torch.get_rng_state()
        with caplog.at_level("INFO"):
            rehearse(session)
        assert [f"stage {n}" in caplog.text for n in (1, 2)] == [True, True]
        assert torch.equal(torch.get_rng_state(), state)
        for name, parameter in session.student.named_parameters():
            assert parameter.grad is None
            assert torch.equal(parameter.cpu(), before[name])
    finally:
        processes.leave()


def test_rehearse__out_of_memory_in_stage_2_ends_the_run_before_it_begins(
    gpu: Device, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(UDA4Inst, "prepare", prepare)
    overrides = on_gpu(short_run(tmp_path, "one", "method.groups=one"))
    with pytest.raises(UserError, match=r"stage 2 must fit .* out of memory .*rehearsal"):
        launch.train(load_config("toystreets_smoke", overrides))
    assert not (tmp_path / "one").exists()


def test_loop__out_of_memory_names_the_step_and_keeps_the_checkpoint(
    gpu: Device, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = UDA4Inst.prepare

    def full_at_ten(self: UDA4Inst, batch: object, step: int) -> object:
        if step == 10:
            raise FULL
        return prepare(self, batch, step)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(UDA4Inst, "prepare", full_at_ten)
    monkeypatch.setattr(training_memory, "_free_gib", lambda _: 10.0)
    overrides = on_gpu(short_run(tmp_path, "one", "method.groups=one", "training.snapshot_every=0"))
    config = re.escape(str(tmp_path / "one" / "config.yaml"))
    said = rf"memory at step 10 \(stage 2\)\. Step 10 is kept as checkpoint\..* Change {config}, "
    with pytest.raises(RunFailedError, match=said):
        launch.train(load_config("toystreets_smoke", overrides))
    run = RunDir(tmp_path / "one")
    assert latest_step(run.checkpoints) == 10
    monkeypatch.undo()
