"""What a run asks of its GPU before it starts: that it is there, precision, repeatable operations.

On a CPU none of this says or does anything.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch

from uda4inst.errors import UserError
from uda4inst.models.mask2former.deformable import triton_sampling
from uda4inst.training.config import Config

log = logging.getLogger(__name__)


def choose_settings(config: Config) -> None:
    """Set what the configuration asks of a GPU for the whole process.

    Raises:
        UserError: training.device is cuda and there is no GPU, the GPU cannot do bf16, or Triton is
            asked for and not installed.
    """
    training = config.training
    if training.device == "cpu":
        return
    if not torch.cuda.is_available():
        if training.device == "cuda":
            raise UserError(
                f"training.device must be one that is there, got cuda, but "
                f"{why_there_is_no_gpu()}. Set training.device=auto to train on the CPU."
            )
        return
    if training.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name()
        raise UserError(
            f"training.precision must be fp32 on a GPU without bf16, got bf16 on {name}. Set "
            "training.precision=fp32, or take an Ampere card or a later one."
        )
    if config.task.name == "instances" and config.model.deformable_kernel == "triton":
        triton_sampling()
    if training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU, as far as a configuration depends on it.

    Args:
        name: of the card, for people.
        gib: its memory.
        has_bf16: whether it computes in bf16 itself.
    """

    name: str
    gib: float
    has_bf16: bool = True


def find_card() -> Card | None:
    """Return the GPU that a run would take; None where it would train on the CPU."""
    if not torch.cuda.is_available():
        return None
    gib = torch.cuda.mem_get_info()[1] / 2**30
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Card(torch.cuda.get_device_name(), gib, has_bf16)


def announce_device(config: Config) -> None:
    """Log why a run that takes a GPU where there is one goes to the CPU."""
    expected = config.training.device == "auto" and torch.backends.cuda.is_built()
    if expected and not torch.cuda.is_available():
        log.warning("training on the CPU: %s", why_there_is_no_gpu())


def why_there_is_no_gpu() -> str:
    """Return why torch finds no GPU, and what to do, as the end of a sentence."""
    if not torch.backends.cuda.is_built():
        return "this torch is a CPU build (install one with CUDA: see README, Installation)"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU (unset it, or name one: 0)"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        told = str(error).strip().splitlines()[0].rstrip(".")
        return f"CUDA says: {told} (built for CUDA {torch.version.cuda}; is the driver older?)"
    return "no GPU is found"
