"""`uda4inst data` and `uda4inst pretrain`: data made, looked at and written in other formats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from uda4inst.commands import data_reports
from uda4inst.commands.ranges import MOST_SEED, MOST_WORKERS
from uda4inst.errors import UserError

data_app = typer.Typer(no_args_is_help=True, help="Make, check, count and export data.")
data_app.command("check")(data_reports.check)
data_app.command("stats")(data_reports.stats)
data_app.command("export")(data_reports.export)
pretrain_app = typer.Typer(no_args_is_help=True, help="Pre-train networks.")


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of a text such as 128x256.

    Raises:
        UserError: it is not written so.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise UserError(
            f"--size must be HEIGHTxWIDTH as in 128x256, of one pixel or more, got {text!r}."
        )
    return int(match[1]), int(match[2])


@data_app.callback()
def _data() -> None:
    """Make, check, count and export data."""


@data_app.command("toystreets")
def toystreets(
    out: Annotated[Path, typer.Argument(help="Folder to make; done at once if it is there.")],
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the pictures.")] = "128x256",
    train: Annotated[int, typer.Option(min=1, help="Images of each domain to train on.")] = 400,
    val: Annotated[int, typer.Option(min=0, help="Target images to evaluate on.")] = 100,
    val_objects: Annotated[
        int,
        typer.Option(
            min=0,
            help="Add scenes to evaluate on until each class has as many objects of 100 pixels.",
        ),
    ] = 0,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="What the scenes are drawn from.")
    ] = 0,
    workers: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_WORKERS, help="Processes; default: one per core."),
    ] = None,
) -> None:
    """Write ToyStreets: source as a UrbanSyn tree, target as a Cityscapes tree."""
    from uda4inst.commands.terminal import counting
    from uda4inst.toystreets.write import write_toystreets

    height_width = parse_size(size)
    with counting("scenes") as show:
        tree = write_toystreets(
            out,
            size=height_width,
            train=train,
            val=val,
            val_objects=val_objects,
            seed=seed,
            workers=workers,
            progress=lambda done, total: show(done, total, "scenes"),
        )
    typer.echo(f"source (UrbanSyn):   {tree.source_root}")
    typer.echo(f"target (Cityscapes): {tree.target_root}")
    if tree.judged is not None:
        counts = ", ".join(f"{name} {number}" for name, number in tree.judged.items())
        typer.echo(f"judged objects of val (100 pixels or more): {counts}")


@pretrain_app.callback()
def _pretrain() -> None:
    """Pre-train networks."""


@pretrain_app.command("toystreets")
def pretrain(
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    start: Annotated[
        str,
        typer.Option(
            help="Which: tiny, the Mask2Former of that preset; mit or resnet, the backbone of the "
            "presets for semantic maps that end in tiny."
        ),
    ] = "tiny",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Optimizer updates; default: those of the shipped start."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Of weights, scenes and points.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=0, max=MOST_WORKERS, help="Processes that draw scenes.")
    ] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Pre-train a tiny network on neutral ToyStreets: the starts that the package carries."""
    from dataclasses import replace

    from recipes.toystreets_start import RECIPES, pretrain_toystreets
    from uda4inst.commands.terminal import counting

    if start not in RECIPES:
        raise UserError(f"--start must be one of {', '.join(RECIPES)}, got {start!r}.")
    recipe = replace(RECIPES[start], seed=seed)
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    with counting("steps") as show:
        path = pretrain_toystreets(
            out,
            recipe=recipe,
            workers=workers,
            device=device,
            progress=lambda step, total, loss: show(step, total, f"loss {loss:.2f}"),
        )
    typer.echo(f"weights: {path}")
