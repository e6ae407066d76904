"""What is said about a GPU that is not there, or cannot do what is asked."""

from __future__ import annotations

import sys

import pytest
import torch

from uda4inst.errors import UserError
from uda4inst.training.config import Config, load_config
from uda4inst.training.gpu import announce_device, choose_settings, why_there_is_no_gpu


def config(*overrides: str) -> Config:
    return load_config("toystreets_smoke", list(overrides))


@pytest.fixture
def cuda_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_choose_settings__cuda_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"training\.device .*got cuda, but .*device=auto"):
        choose_settings(config("training.device=cuda"))


def test_why_there_is_no_gpu__a_cpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert "CPU build" in why_there_is_no_gpu()


@pytest.mark.usefixtures("cuda_build")
@pytest.mark.parametrize("hidden", ["", "-1"])
def test_why_there_is_no_gpu__hidden(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert "CUDA_VISIBLE_DEVICES hides" in why_there_is_no_gpu()


@pytest.mark.usefixtures("cuda_build")
def test_announce_device__auto_says_why_it_takes_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def init() -> None:
        raise RuntimeError(
            "The NVIDIA driver on your system is too old (found version 11040).\nMore"
        )

    monkeypatch.setattr(torch.cuda, "init", init)
    announce_device(config())
    assert "training on the CPU: CUDA says: The NVIDIA driver on your system is too old" in (
        caplog.text
    )
    caplog.clear()
    announce_device(config("training.device=cpu"))
    assert caplog.text == ""


def test_choose_settings__bf16_of_a_card_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")
    with pytest.raises(UserError, match=r"bf16 on Tesla V100.*precision=fp32"):
        choose_settings(config("training.precision=bf16"))


def test_choose_settings__triton_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delitem(sys.modules, "uda4inst.models.mask2former.deformable_triton", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    choose_settings(config())
    with pytest.raises(UserError, match=r"where Triton is not installed, got triton"):
        choose_settings(config("model.deformable_kernel=triton"))


def test_choose_settings__deterministic_where_torch_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, bool]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda on, warn_only: asked.append((on, warn_only))
    )
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    choose_settings(config())
    assert asked == []
    choose_settings(config("training.deterministic=true"))
    assert asked == [(True, True)]
