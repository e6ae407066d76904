"""The stand-in itself: it refuses what a GPU refuses and sees what a GPU would wait for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fake_cuda.device import Device, MixedDevicesError
from torch import Tensor

pytestmark = pytest.mark.fake_cuda


def kinds(gpu: Device) -> list[str]:
    return [crossing.kind for crossing in gpu.crossings]


def test_device__computes_forward_and_backward(gpu: Device) -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    there = values.to("cuda").requires_grad_()
    (there @ there.T).sum().backward()
    assert there.device.type == "cuda"
    assert there.grad is not None
    assert there.grad.device.type == "cuda"
    assert there.grad.cpu().tolist() == [[8.0, 12.0], [8.0, 12.0]]


def test_device__autocast_is_torchs_own_for_cuda(gpu: Device) -> None:
    layer, images = torch.nn.Linear(4, 2).to("cuda"), torch.rand(3, 4, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert layer(images).dtype == torch.bfloat16
        assert layer(images).softmax(-1).dtype == torch.float32


@pytest.mark.parametrize(
    "mix",
    [
        pytest.param(lambda here, there: there + here, id="sum"),
        pytest.param(lambda here, there: torch.cat([there, here]), id="list"),
        pytest.param(lambda here, there: there @ here, id="product"),
        pytest.param(lambda here, there: torch.where(here > 0, there, there), id="choice"),
    ],
)
def test_device__refuses_mixed_devices(gpu: Device, mix: Callable[..., Tensor]) -> None:
    here = torch.ones(4)
    there = torch.ones(4, device="cuda")
    with pytest.raises(MixedDevicesError, match=r"test_device\.py"):
        mix(here, there)


def test_device__takes_a_scalar_of_the_host(gpu: Device) -> None:
    there = torch.ones(4, device="cuda") * torch.tensor(2.0)
    assert there.cpu().tolist() == [2.0] * 4


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        pytest.param(lambda there: there.sum().item(), "read", id="item"),
        pytest.param(lambda there: bool(there.any()), "read", id="condition"),
        pytest.param(lambda there: there.tolist(), "to host", id="list"),
        pytest.param(lambda there: there.cpu(), "to host", id="copy"),
        pytest.param(lambda there: there.nonzero(), "shape", id="nonzero"),
        pytest.param(lambda there: there[there > 0], "shape", id="mask index"),
        pytest.param(lambda there: there.unique(), "shape", id="unique"),
        pytest.param(lambda there: there[[0, 1]], "to device", id="index from the host"),
        pytest.param(lambda there: there.new_tensor([1.0]), "to device", id="numbers"),
        pytest.param(lambda there: there.copy_(torch.ones(4)), "to device", id="copy in place"),
    ],
)
def test_device__sees_what_is_waited_for(
    gpu: Device, ask: Callable[[Tensor], object], kind: str
) -> None:
    there = torch.ones(4, device="cuda")
    gpu.clear()
    ask(there)
    (crossing,) = gpu.crossings
    assert crossing.kind == kind
    assert crossing.waits
    assert "tests/fake_cuda/test_device.py" in crossing.place


def test_device__nothing_is_waited_for_within_it(gpu: Device) -> None:
    there = torch.ones(4, device="cuda")
    there[1:].mul_(2).clamp_(max=1)
    torch.where(there > 0, there, 0.0).cumsum(0).topk(2)
    there.new_zeros(3).scatter_add_(0, torch.zeros(4, dtype=torch.int64, device="cuda"), there)
    assert kinds(gpu) == []


def test_device__only_pinned_memory_is_copied_beside_the_host(gpu: Device) -> None:
    pageable = torch.ones(4)
    pageable.to("cuda", non_blocking=True)
    pageable.pin_memory().to("cuda", non_blocking=True)
    pageable.pin_memory().to("cuda")
    torch.ones(4, pin_memory=True).to("cuda", non_blocking=True)
    expected = ["to device", "to device, asynchronous", "to device", "to device, asynchronous"]
    assert kinds(gpu) == expected


def test_device__a_copy_that_has_not_arrived_is_garbage(gpu: Device) -> None:
    there = torch.ones(4, device="cuda")
    here = there.to("cpu", non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    late = there.to("cpu", non_blocking=True)
    assert here.isnan().all()
    event.synchronize()
    assert here.tolist() == [1.0] * 4
    assert late.isnan().all()
    torch.cuda.synchronize()
    assert late.tolist() == [1.0] * 4
