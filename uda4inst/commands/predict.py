"""`uda4inst predict`: a run's network on any pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from uda4inst.formats.predictions import ScoredMask
    from uda4inst.run_folder.layout import RunDir


def predict(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG and others.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    network: Annotated[
        Literal["best", "student", "teacher"],
        typer.Option(help="best is the teacher where there is one."),
    ] = "best",
    step: Annotated[
        int | None, typer.Option(help="Step of the checkpoint; default: the latest.")
    ] = None,
    score_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Lowest score drawn; the file holds all.")
    ] = 0.5,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Write each picture with its detections, and predictions.jsonl.gz with all of them."""
    from uda4inst.formats.predictions import ImagePredictions, to_line, writing_text
    from uda4inst.run_folder.layout import find_run
    from uda4inst.training.groups.merging import merge_detections

    names = _names(images)
    found = find_run(run, root=root)
    networks = _networks(found, step=step, network=network)
    parts = [_detections(one, _read(images)) for one in networks]
    results = (merge_detections(found) for found in zip(*parts, strict=True))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with writing_text(out / "predictions.jsonl.gz", compressed=True) as write:
            for name, image, detections in zip(names, _read(images), results, strict=True):
                size = (image.shape[0], image.shape[1])
                write(to_line(ImagePredictions(name, size, detections)))
                _draw(out / f"{name}.png", image, detections, score_threshold)
    except OSError as error:
        raise UserError(
            f"--out must be a folder that can be written to, got {error} ({out})."
        ) from error
    typer.echo(f"{len(names)} pictures by the {networks[0].name}: {out}")


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """A trained network, the classes it answers for, and how it is run."""

    name: str
    model: nn.Module
    classes: frozenset[int]
    device: torch.device
    short_side: int | None


def _networks(
    run: RunDir, *, step: int | None, network: Literal["best", "student", "teacher"]
) -> list[_Network]:
    """Return the network of every category group of a run.

    Raises:
        UserError: there is no such checkpoint or network.
    """
    from uda4inst.run_folder.checkpoints import open_checkpoint
    from uda4inst.training.config import load_config
    from uda4inst.training.groups.category_groups import is_grouped, modules_of
    from uda4inst.training.validation import choose_device, load_network

    networks: list[_Network] = []
    for module in modules_of(run) if is_grouped(run) else [run]:
        config = load_config(module.config)
        checkpoint = open_checkpoint(module.checkpoints, step=step)
        chosen = checkpoint.networks[-1] if network == "best" else network
        device = choose_device(config)
        networks.append(
            _Network(
                name=f"{chosen} of step {checkpoint.step}",
                model=load_network(config, checkpoint, chosen, device),
                classes=frozenset(config.method.class_labels),
                device=device,
                short_side=config.evaluation.short_side,
            )
        )
    return networks


def _detections(
    network: _Network, images: Iterator[NDArray[np.uint8]]
) -> Iterator[Sequence[ScoredMask]]:
    """Yield what one network finds of its classes in every picture."""
    from uda4inst.evaluation.evaluate import detect

    for found in detect(
        network.model, images, device=network.device, short_side=network.short_side
    ):
        yield [d for d in found if d.label in network.classes]


def _names(images: Sequence[Path]) -> list[str]:
    """Return a name for the result of every picture.

    Raises:
        UserError: pictures are missing, or two would get one name.
    """
    if missing := [str(path) for path in images if not path.is_file()]:
        raise UserError(f"IMAGES must exist, got {', '.join(missing)}, which do not.")
    names = [path.stem for path in images]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"IMAGES must have different names, got two named {', '.join(twice)}. Predict them "
            "into two folders."
        )
    return names


def _read(images: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures as RGB, in the orientation a camera noted.

    Raises:
        UserError: a file is no picture, or a damaged one.
    """
    import numpy as np
    from PIL import Image, ImageOps

    for path in images:
        try:
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
                yield np.asarray(upright.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"IMAGES must be readable pictures, got {error} ({path}).") from error


def _draw(
    path: Path,
    image: NDArray[np.uint8],
    detections: Sequence[ScoredMask],
    score_threshold: float,
) -> None:
    """Write a picture with the detections that reach the threshold."""
    from PIL import Image

    from uda4inst.draw import DrawnDetection, draw_detections

    drawn = [
        DrawnDetection(mask=d.pixels(), label=d.label, score=d.score)
        for d in detections
        if d.score >= score_threshold
    ]
    Image.fromarray(draw_detections(image, drawn)).save(path)
