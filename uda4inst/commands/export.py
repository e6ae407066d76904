"""`uda4inst export`: a run's network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    out: Annotated[Path, typer.Argument(help="Folder to make; with --onnx a file.")],
    network: Annotated[
        Literal["best", "student", "teacher"],
        typer.Option(help="best is the teacher where there is one."),
    ] = "best",
    step: Annotated[
        int | None, typer.Option(help="Step of the checkpoint; default: the latest.")
    ] = None,
    license_name: Annotated[
        str, typer.Option("--license", help="What the model card says, in the hub's words.")
    ] = "apache-2.0",
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Write a folder that transformers and the Hugging Face hub take, with a model card.

    Of a run of several category groups, a folder for each.
    """
    from uda4inst.exchange.hub_folder import export_run
    from uda4inst.run_folder.layout import find_run

    folders = export_run(
        find_run(run, root=root), out, network=network, step=step, license_name=license_name
    )
    for folder in folders:
        typer.echo(f"written: {folder} (from_pretrained takes it, and model.weights={folder})")
