"""`uda4inst predict`: a run's network on any pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from uda4inst.models.precision import Precision
    from uda4inst.run_folder.layout import RunDir
    from uda4inst.tasks.base import Task, TrainedNetwork


def predict(
    run: Annotated[
        str,
        typer.Argument(
            help="A run folder, the name of a run under --root, or a folder in the hub's format "
            "(uda4inst export)."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG and others.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    network: Annotated[
        Literal["best", "student", "teacher"],
        typer.Option(help="best is the teacher where there is one."),
    ] = "best",
    step: Annotated[
        int | None, typer.Option(min=0, help="Step of the checkpoint; default: the latest.")
    ] = None,
    score_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Lowest score drawn; the file holds all.")
    ] = 0.5,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Write each picture with what the network sees, and the predictions as files.

    Detections go into predictions.jsonl.gz; semantic classes into NAME_labelIds.png, which the
    Cityscapes server takes.
    """
    from uda4inst.models.precision import inference_precision

    if not math.isfinite(score_threshold):
        raise UserError(f"--score-threshold must be a number from 0 to 1, got {score_threshold}.")
    names = _names(images)
    _check_are_kept(images, names, out)
    chosen = _chosen(run, root=root, step=step, network=network)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with inference_precision(chosen.precision, chosen.networks[0].device):
            chosen.task.write_pictures(
                chosen.networks,
                lambda: _read(images),
                names=names,
                out=out,
                score_threshold=score_threshold,
            )
    except OSError as error:
        raise UserError(
            f"--out must be a folder that can be written to, got {error} ({out})."
        ) from error
    pictures = "1 picture" if len(names) == 1 else f"{len(names)} pictures"
    typer.echo(f"{pictures} by the {chosen.title}: {out}")


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """Networks, one a category group, what to call them, their task and their precision."""

    title: str
    task: Task
    networks: list[TrainedNetwork]
    precision: Precision


def _chosen(
    name: str, *, root: Path, step: int | None, network: Literal["best", "student", "teacher"]
) -> _Chosen:
    """Return the networks of a run, or that of a folder in the hub's format.

    Raises:
        UserError: there is no such run, folder, checkpoint or network.
    """
    from uda4inst.exchange.hub_folder import PRECISION, is_hub_folder, open_exported
    from uda4inst.run_folder.layout import find_run
    from uda4inst.training.config import load_config

    if is_hub_folder(Path(name)):
        if step is not None or network != "best":
            raise UserError(
                "--step and --network must be given for a run, got a folder with one network "
                f"({name}). Leave them out."
            )
        exported = open_exported(Path(name))
        only = exported.load()
        return _Chosen(f"network in {name}", exported.task, [only], PRECISION)
    run = find_run(name, root=root)
    title, task, networks = _networks(run, step=step, network=network)
    return _Chosen(title, task, networks, load_config(run.config).training.inference_precision)


def _networks(
    run: RunDir, *, step: int | None, network: Literal["best", "student", "teacher"]
) -> tuple[str, Task, list[TrainedNetwork]]:
    """Return the network of every category group of a run, what to call them, and their task.

    Raises:
        UserError: there is no such checkpoint or network.
    """
    from uda4inst.run_folder.checkpoints import open_checkpoint
    from uda4inst.tasks.base import TrainedNetwork
    from uda4inst.training.config import load_config
    from uda4inst.training.groups.modules import networks_of
    from uda4inst.training.validation import choose_device, load_network

    titles: list[str] = []
    networks: list[TrainedNetwork] = []
    for module in networks_of(run):
        config = load_config(module.config)
        checkpoint = open_checkpoint(module.checkpoints, step=step)
        chosen = checkpoint.networks[-1] if network == "best" else network
        device = choose_device(config)
        titles.append(f"{chosen} of step {checkpoint.step}")
        networks.append(
            TrainedNetwork(
                load_network(config, checkpoint, chosen, device),
                classes=config.class_names,
                device=device,
                short_side=config.evaluation.short_side,
            )
        )
    return titles[0], load_config(run.config).task, networks


def _names(images: Sequence[Path]) -> list[str]:
    """Return a name for the result of every picture.

    Raises:
        UserError: pictures are missing or folders, or two would get one name.
    """
    if folders := [str(path) for path in images if path.is_dir()]:
        raise UserError(
            f"IMAGES must be files, got folders: {', '.join(folders)}. Name the pictures in them, "
            f"such as {folders[0]}/*.png."
        )
    if missing := [str(path) for path in images if not path.is_file()]:
        raise UserError(f"IMAGES must exist, got {', '.join(missing)}, which do not.")
    names = [path.stem for path in images]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"IMAGES must have different names, got two named {', '.join(twice)}. Predict them "
            "into two folders."
        )
    return names


def _check_are_kept(images: Sequence[Path], names: Sequence[str], out: Path) -> None:
    """Raise if a result would take the place of a picture.

    Raises:
        UserError: a picture lies in the results' folder under a name that a result gets.
    """
    from uda4inst.formats.label_maps import LABEL_IDS_SUFFIX

    results = {(out / f"{n}{end}").resolve() for n in names for end in (".png", LABEL_IDS_SUFFIX)}
    if lost := [str(path) for path in images if path.resolve() in results]:
        raise UserError(
            f"--out must be a folder where results replace no picture, got {out}, where "
            f"{', '.join(lost[:3])} would be. Choose another."
        )


def _read(images: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures as RGB, in the orientation a camera noted.

    Raises:
        UserError: a file is no picture, or a damaged one.
    """
    from PIL import ImageOps

    from uda4inst.pictures import MAX_PICTURE, decode_picture
    from uda4inst.reading import read_bytes

    for path in images:
        try:
            yield decode_picture(
                read_bytes(path, limit=MAX_PICTURE),
                lambda picture: ImageOps.exif_transpose(picture).convert("RGB"),
            )
        except (OSError, ValueError) as error:
            raise UserError(f"IMAGES must be readable pictures, got {error} ({path}).") from error
