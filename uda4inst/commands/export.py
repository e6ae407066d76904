"""`uda4inst export`: a run's network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from uda4inst.commands.data import parse_size
from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.run_folder.layout import RunDir


def export(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    out: Annotated[Path, typer.Argument(help="Folder to make; with --onnx a file.")],
    network: Annotated[
        Literal["best", "student", "teacher"],
        typer.Option(help="best is the teacher where there is one."),
    ] = "best",
    step: Annotated[
        int | None, typer.Option(min=0, help="Step of the checkpoint; default: the latest.")
    ] = None,
    license_name: Annotated[
        str, typer.Option("--license", help="What the model card says, in the hub's words.")
    ] = "apache-2.0",
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write an ONNX file instead, and compare it.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            help="With --onnx: HEIGHTxWIDTH of the images it takes; default: the training crop's."
        ),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Write a folder that transformers and the Hugging Face hub take, with a model card.

    Of a run of several category groups, a folder for each.
    """
    from uda4inst.exchange.hub_folder import export_run
    from uda4inst.run_folder.layout import find_run

    if onnx:
        _export_onnx(find_run(run, root=root), out, network=network, step=step, size=size)
        return
    if size is not None:
        raise UserError("--size must be given with --onnx, got it alone. Leave it out.")
    folders = export_run(
        find_run(run, root=root), out, network=network, step=step, license_name=license_name
    )
    for folder in folders:
        typer.echo(f"written: {folder} (from_pretrained takes it, and model.weights={folder})")


def _export_onnx(
    run: RunDir, out: Path, *, network: str, step: int | None, size: str | None
) -> None:
    """Write and compare ONNX files."""
    from uda4inst.exchange.onnx_file import export_onnx

    chosen = None if size is None else parse_size(size)
    for done in export_onnx(run, out, network=network, step=step, size=chosen):
        height, width = done.size
        typer.echo(
            f"written: {done.path}, for RGB images in [0, 1] of 1x3x{height}x{width}; onnxruntime "
            f"differs from the network by {done.difference:.0e} of the largest output"
        )
