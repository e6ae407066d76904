"""`uda4inst data check`, `stats` and `export`: what is in a data set, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from uda4inst.commands.ranges import MOST_WORKERS
from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.data.tree import DatasetOptions, ImageTree

# Spelled out, so that help needs nothing heavy; a test holds it to `FormatName`.
_Name = Annotated[
    str,
    typer.Argument(
        metavar="FORMAT",
        help="Format of the tree: urbansyn, cityscapes, synscapes, synthia, kitti360, bdd100k, "
        "images, gta5, coco.",
    ),
]
_Root = Annotated[Path, typer.Argument(metavar="ROOT", help="The data set's folder.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MOST_WORKERS,
        help="Processes; default: one per core if there are many images.",
    ),
]
AnnotationsOption = Annotated[
    Path | None, typer.Option(help="Annotation file of a coco folder, from ROOT.")
]
UnnumberedOption = Annotated[
    str, typer.Option(help="Thing pixels without a number (synthia): ignore, components or one.")
]


OnlyOption = Annotated[
    Path | None, typer.Option(help="File with the images to use, one name a line; default: all.")
]


def check(
    name: _Name,
    root: _Root,
    split: Annotated[str | None, typer.Option(help="Default: every split that is there.")] = None,
    as_json: _Json = False,
    annotations: AnnotationsOption = None,
    unnumbered: UnnumberedOption = "ignore",
    workers: _Workers = None,
) -> None:
    """Read every file of a tree and report all that is wrong.

    Errors: missing and orphan files, damaged or malformed ones,
    sizes that do not fit, unknown classes, instances on another class
    of the label map, images that two splits share.

    Notes: images without any instance; published data sets have some.

    Exit code: 1 if there is an error, 0 with notes alone, 2 for a
    command written wrongly. In JSON each finding has a kind, path,
    message and severity (error or note).
    """
    from uda4inst.commands.terminal import counting
    from uda4inst.data.readers import format_class
    from uda4inst.data.reports.check import check_tree

    format_class(name)
    require_root(root)
    options = options_of(annotations, unnumbered)
    with counting("images") as show:
        report = check_tree(
            name,
            root,
            split=split,
            options=options,
            workers=workers,
            progress=lambda done, total: show(done, total, "images"),
        )
    typer.echo(json.dumps(report.to_json(), indent=1) if as_json else report.to_text())
    raise typer.Exit(0 if report.ok else 1)


def stats(
    name: _Name,
    root: _Root,
    split: Annotated[str | None, typer.Option(help="Default: the format's first.")] = None,
    as_json: _Json = False,
    plot: Annotated[
        Path | None, typer.Option(help="Picture to draw shares and areas in (.png, .pdf, .svg).")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Look at this many images only, spread evenly.")
    ] = None,
    only: OnlyOption = None,
    annotations: AnnotationsOption = None,
    unnumbered: UnnumberedOption = "ignore",
    workers: _Workers = None,
) -> None:
    """Count instances, sizes and occlusion by class, and propose the rare classes.

    Rare is the least frequent class of each category group, among those that occur.
    """
    from rich.console import Console

    from uda4inst.commands.terminal import counting
    from uda4inst.data.reports.statistics import collect_statistics
    from uda4inst.data.reports.statistics_text import plot_statistics, table_of

    if plot is not None:
        _require_picture(plot)
    dataset = _open(name, root, split, options_of(annotations, unnumbered, only))
    with counting("images") as show:
        statistics = collect_statistics(
            dataset,
            workers=workers,
            limit=limit,
            progress=lambda done, total: show(done, total, "images"),
        )
    if as_json:
        typer.echo(json.dumps(statistics.to_json(), indent=1))
    else:
        console = Console()
        if console.is_terminal:
            console.print(table_of(statistics))
        else:
            typer.echo(statistics.to_text())
    if plot is not None:
        typer.echo(f"plot: {plot_statistics(statistics, plot)}", err=True)


def export(
    name: _Name,
    root: _Root,
    out: Annotated[Path, typer.Argument(help="Folder to make; must not be there.")],
    to: Annotated[str, typer.Option(help="coco or cityscapes.")],
    split: Annotated[str | None, typer.Option(help="Default: the format's first.")] = None,
    only: OnlyOption = None,
    annotations: AnnotationsOption = None,
    unnumbered: UnnumberedOption = "ignore",
    workers: _Workers = None,
) -> None:
    """Write a labelled tree in COCO's format, or as a tree named like Cityscapes'."""
    from uda4inst.commands.terminal import counting
    from uda4inst.data.reports.export import export_cityscapes, export_coco

    if to not in ("coco", "cityscapes"):
        raise UserError(f"--to must be coco or cityscapes, got {to!r}.")
    dataset = _open(name, root, split, options_of(annotations, unnumbered, only))
    with counting("images") as show:

        def progress(done: int, total: int) -> None:
            show(done, total, "images")

        if to == "coco":
            made = export_coco(dataset, out, workers=workers, progress=progress)
        else:
            made = export_cityscapes(
                dataset, out, split=dataset.split, workers=workers, progress=progress
            )
    typer.echo(f"{len(dataset)} images: {made}")


def options_of(
    annotations: Path | None, unnumbered: str, only: Path | None = None
) -> DatasetOptions:
    """Return how the tree is read."""
    from uda4inst.data.tree import DatasetOptions, Unnumbered
    from uda4inst.formats.image_list import read_image_list

    if unnumbered not in (known := get_args(Unnumbered)):
        raise UserError(f"--unnumbered must be one of {', '.join(known)}, got {unnumbered!r}.")
    return DatasetOptions(
        unnumbered=cast(Unnumbered, unnumbered),
        annotations=annotations,
        only=None if only is None else read_image_list(only),
    )


def _open(name: str, root: Path, split: str | None, options: DatasetOptions) -> ImageTree:
    """Open a labelled tree."""
    from uda4inst.data.readers import format_class

    kind = format_class(name)
    require_root(root)
    return kind(root, split, options=options)


def require_root(root: Path) -> None:
    """Raise unless a data set's folder is there."""
    if not root.is_dir():
        got = "a file" if root.exists() else "no such folder"
        raise UserError(f"ROOT must be the data set's folder, got {got} ({root}).")


def _require_picture(path: Path) -> None:
    """Refuse a plot that could not be written, before the tree is read."""
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot must end in .png, .pdf or .svg, got {path}.")
    if not path.parent.is_dir():
        raise UserError(f"--plot must lie in a folder that is there, got {path}. Make it first.")
