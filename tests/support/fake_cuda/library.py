"""Make torch believe in one GPU, for the rest of this process."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("library.cpp")
MEMORY = 80 * 2**30  # bytes of the card that is not there


def missing() -> str | None:
    """Return why there can be no such GPU here; None if there can. Does not import torch."""
    if shutil.which("g++") is None:
        return "needs a C++ compiler (g++) to build the device's stand-in"
    version = runpy.run_path(str(_torch_folder() / "version.py"))
    if version["cuda"] or version["hip"]:
        return "needs a CPU build of torch: this one knows real GPUs"
    return None


@functools.cache
def load() -> None:
    """Build what a CPU build of torch lacks, load it, and tell torch's Python side."""
    if "torch" in sys.modules:
        raise RuntimeError("The device must be there before torch is: run pytest -m fake_cuda.")
    torch_folder = _torch_folder()
    ctypes.CDLL(str(torch_folder / "lib" / "libtorch_cpu.so"), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(_built(torch_folder)), mode=ctypes.RTLD_GLOBAL)
    _announce()


def _torch_folder() -> Path:
    """Return where torch is installed."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _built(torch_folder: Path) -> Path:
    """Return the library for this torch, compiled once a machine."""
    version = (torch_folder / "version.py").read_bytes()
    key = hashlib.sha256(_SOURCE.read_bytes() + version + str(torch_folder).encode()).hexdigest()
    built = Path(tempfile.gettempdir()) / f"fake_cuda_{os.getuid()}_{key[:16]}.so"
    if not built.exists():
        partial = built.with_suffix(f".{os.getpid()}")
        command = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", f"-I{torch_folder / 'include'}"]
        subprocess.run([*command, str(_SOURCE), "-o", str(partial)], check=True)
        partial.replace(built)
    return built


def _announce() -> None:
    """Answer what is asked of `torch.cuda` without a driver."""
    import torch

    class Properties:
        name, total_memory, major, minor = "stand-in", MEMORY, 9, 0
        multi_processor_count = 132

    class Stream:
        device = torch.device("cuda", 0)

        def synchronize(self) -> None:
            _synchronize()

        def wait_stream(self, other: object) -> None:
            del other

    class Here:
        """Stands for `torch.cuda.device` and `torch.cuda.stream`."""

        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    def one(answer: object) -> object:
        return lambda *_args, **_kwargs: answer

    cuda = torch.cuda
    cuda.amp.common.amp_definitely_not_available = one(False)
    answers: dict[str, object] = {
        "_lazy_init": one(None),
        "is_initialized": one(True),
        "is_available": one(True),
        "device_count": one(1),
        "current_device": one(0),
        "set_device": one(None),
        "is_bf16_supported": one(True),
        "get_device_name": one("stand-in"),
        "get_device_capability": one((9, 0)),
        "get_device_properties": one(Properties()),
        "mem_get_info": one((MEMORY, MEMORY)),
        "max_memory_allocated": one(0),
        "memory_allocated": one(0),
        "max_memory_reserved": one(0),
        "memory_reserved": one(0),
        "reset_peak_memory_stats": one(None),
        "empty_cache": one(None),
        "synchronize": lambda *_: _synchronize(),
        "current_stream": one(Stream()),
        "default_stream": one(Stream()),
        "Stream": Stream,
        "device": Here,
        "stream": Here,
        # Values are drawn by the CPU's generator.
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "set_rng_state_all": lambda states: torch.set_rng_state(states[0]),
        "manual_seed": one(None),
        "manual_seed_all": one(None),
    }
    for name, answer in answers.items():
        setattr(cuda, name, answer)
    accelerator: dict[str, object] = {
        "is_available": one(True),
        "device_count": one(1),
        "current_accelerator": one(torch.device("cuda", 0)),
        "current_device_index": one(0),
        "set_device_index": one(None),
        "synchronize": lambda *_: _synchronize(),
    }
    for name, answer in accelerator.items():
        setattr(torch.accelerator, name, answer)
    # A module that moves gets new parameters: a tensor of ours cannot take another's place.
    torch.__future__.set_overwrite_module_params_on_conversion(True)


def _synchronize() -> None:
    """Wait for the device: what was on its way has arrived."""
    device = sys.modules.get("fake_cuda.device")
    if device is not None:
        device.synchronize()
