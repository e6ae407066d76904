"""A trained network as an ONNX file, compared with the network before anybody gets it.

torch's exporter follows the network at one size of images; the file takes no other. What it writes
is run by onnxruntime on images that the exporter has not seen, and refused where it says something
else. Needs the extra `onnx`; nothing else of the package does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from uda4inst.atomic import disk_errors, new_folder, whole_file
from uda4inst.errors import UserError
from uda4inst.exchange.hub_folder import refuse_existing, trained_network
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.models.network import Network
from uda4inst.reading import MAX_WEIGHTS, open_regular
from uda4inst.run_folder.checkpoints import open_checkpoint
from uda4inst.run_folder.layout import RunDir
from uda4inst.structures import Size
from uda4inst.training.config import config_hash, load_config
from uda4inst.training.groups.modules import modules_of

SUFFIX: Final = ".onnx"
# Largest difference from the network's own outputs, as a share of their largest value. Sums in
# another order differ by some 1e-6 of it; a wrong operation by far more than this.
TOLERANCE: Final = 1e-4
_NEEDED: Final = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Compared:
    """A file that was written, and how it compares.

    Args:
        path: the file.
        size: (height, width) of the images it takes.
        difference: largest from the network, as a share of its largest output.
    """

    path: Path
    size: Size
    difference: float


class _Outputs(nn.Module):
    """A network whose prediction is plain tensors, those of the last layer alone.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return class and mask logits of every query, or the class logits of every cell."""
        prediction = self.network(images)
        if isinstance(prediction, Prediction):
            return prediction.class_logits[-1], prediction.mask_logits[-1]
        return (prediction.logits,)


def require_onnx() -> None:
    """Raise unless what exports and compares is installed.

    Raises:
        UserError: it is not; the message says how to install it.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"export --onnx must find {', '.join(_NEEDED)} installed, got no "
            f"{', '.join(missing)}. Install them: pip install 'uda4inst[onnx]'"
        )


def export_onnx(
    run: RunDir,
    out: Path,
    *,
    network: str = "best",
    step: int | None = None,
    size: Size | None = None,
) -> list[Compared]:
    """Write a run's network as an ONNX file; of category groups, a folder with a file each.

    It takes one RGB image in [0, 1], (1, 3, H, W), and normalises and pads it as the network does.

    Args:
        run: the run.
        out: file to write, or folder to make.
        network: "student", "teacher", or "best", which is the teacher where there is one.
        step: step of the checkpoint; None for the latest.
        size: (height, width) of images; None for that of the training crops.

    Raises:
        UserError: the extra is not installed; there is no such network; the exporter cannot write
            it, or the file says something else than the network.
    """
    require_onnx()
    refuse_existing(out)
    with disk_errors("OUT", out, then="call again, or choose another name"):
        if not run.is_grouped:
            out.parent.mkdir(parents=True, exist_ok=True)
            return [_export_one(run, out, network=network, step=step, size=size)]
        with new_folder(out) as folder:
            return [
                _export_one(
                    module,
                    folder / f"{module.name}{SUFFIX}",
                    network=network,
                    step=step,
                    size=size,
                    final=out / f"{module.name}{SUFFIX}",
                )
                for module in modules_of(run)
            ]


def _export_one(
    run: RunDir,
    path: Path,
    *,
    network: str,
    step: int | None,
    size: Size | None,
    final: Path | None = None,
) -> Compared:
    config = load_config(run.config)
    checkpoint = open_checkpoint(run.checkpoints, step=step)
    name, trained = trained_network(config, checkpoint, network)
    facts = {
        "classes": json.dumps(config.task.class_names),
        "answers_for": json.dumps(config.class_names),
        "network": f"{name} of step {checkpoint.step}",
        "config_hash": config_hash(config),
    }
    chosen = size or (config.data.crop[0], config.data.crop[1])
    difference = write_onnx(trained, path, size=chosen, facts=facts)
    return Compared(final or path, chosen, difference)


def write_onnx(network: Network, path: Path, *, size: Size, facts: Mapping[str, str]) -> float:
    """Write a network as an ONNX file that was compared with it.

    Args:
        network: in evaluation mode, on the CPU.
        path: file to write, whole or not at all.
        size: (height, width) of the images it will take.
        facts: kept in the file as its metadata.

    Returns:
        The largest difference of the outputs, as a share of their largest value.

    Raises:
        UserError: the exporter cannot write it, or the file says something else.
    """
    plain = _Outputs(network).eval()
    generator = torch.Generator().manual_seed(0)
    seen, unseen = torch.rand((2, 1, 3, *size), generator=generator)
    with whole_file(path) as temporary:
        with torch.no_grad(), _quiet():
            program = _exported(plain, seen)
            program.model.metadata_props.update(facts)
            program.save(str(temporary), external_data=False)
        difference = _difference(temporary, plain, unseen)
        if not difference < TOLERANCE:
            raise UserError(
                "the ONNX file must say what the network says, got outputs that differ by "
                f"{difference:.1e} of the largest ({path}, which was not kept). Export in the "
                "hub's format instead: leave --onnx out."
            )
    return difference


def _exported(plain: nn.Module, images: Tensor) -> Any:
    """Return what torch's exporter makes of a network.

    Raises:
        UserError: it fails; the message has its reason.
    """
    names = {2: ["class_logits", "mask_logits"], 1: ["logits"]}[len(plain(images))]
    try:
        return torch.onnx.export(
            plain, (images,), input_names=["images"], output_names=names, dynamo=True, verbose=False
        )
    except Exception as error:  # whatever the exporter, or what it uses, raises
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"network must be one that torch's ONNX exporter can follow, got {lines[0][:300]} "
            f"(torch {torch.__version__}). Export in the hub's format instead: leave --onnx out."
        ) from error


def _difference(path: Path, plain: nn.Module, images: Tensor) -> float:
    """Return how far the file's outputs are from the network's, on images it has not seen."""
    import onnxruntime  # pyright: ignore[reportMissingImports] of the extra

    with open_regular(path, limit=MAX_WEIGHTS) as file:
        session = onnxruntime.InferenceSession(file.read(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        wanted = [tensor.numpy() for tensor in plain(images)]
    pairs = zip(found, wanted, strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)) for a, b in pairs)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes off the console: we say what came of it in one line."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
