"""`uda4inst data check`, `stats` and `export`: what is in a data set, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from uda4inst.commands.ranges import MOST_WORKERS
from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.data.reports.findings import CheckReport
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
ClassMapOption = Annotated[
    Path | None,
    typer.Option(help="YAML file that maps the data set's class names to the eight, or nothing."),
]
UnnumberedOption = Annotated[
    str, typer.Option(help="Thing pixels without a number (synthia): ignore, components or one.")
]


OnlyOption = Annotated[
    Path | None, typer.Option(help="File with the images to use, one name a line; default: all.")
]


def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="Format of the tree, as of data stats; or a configuration (.yaml), of which all "
            "sides are checked as it reads them.",
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Argument(metavar="ROOT", help="The data set's folder; none with a configuration."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Default: every split that is there.")] = None,
    as_json: _Json = False,
    annotations: AnnotationsOption = None,
    class_map: ClassMapOption = None,
    unnumbered: UnnumberedOption = "ignore",
    workers: _Workers = None,
) -> None:
    """Read every file of a tree, or of a configuration's, and report all that is wrong.

    Errors: missing and orphan files, damaged or malformed ones,
    sizes that do not fit, unknown classes, instances on another class
    of the label map, images that two splits share.

    Notes: images without any instance, which published data sets have;
    classes of the data set's own that are none of ours.

    Exit code: 1 if there is an error, 0 with notes alone, 2 for a
    command written wrongly. In JSON each finding has a kind, path,
    message and severity (error or note).
    """
    if Path(name).suffix in (".yaml", ".yml"):
        if root or split or annotations or class_map or unnumbered != "ignore":
            raise UserError(
                f"a configuration must be checked as it stands, got {name} and more. Leave ROOT "
                "and options out, or name a format."
            )
        reports = _check_configuration(name, workers=workers)
        shown = json.dumps({side: r.to_json() for side, r in reports.items()}, indent=1)
        texts = (f"{side}: {report.to_text()}" for side, report in reports.items())
        typer.echo(shown if as_json else "\n".join(texts))
        raise typer.Exit(0 if all(report.ok for report in reports.values()) else 1)
    from uda4inst.data.readers import format_class

    format_class(name)
    if root is None:
        raise UserError(f"ROOT must be the data set's folder, got none (format {name}).")
    require_root(root)
    options = options_of(annotations, unnumbered, None, class_map)
    report = _checked(name, root, split=split, options=options, workers=workers)
    typer.echo(json.dumps(report.to_json(), indent=1) if as_json else report.to_text())
    raise typer.Exit(0 if report.ok else 1)


def _check_configuration(name: str, *, workers: int | None) -> dict[str, CheckReport]:
    """Return a report on each side of a configuration; the target's labels are none of its."""
    from uda4inst.data.stream.dataset import has_labels
    from uda4inst.training.config import load_config

    config = load_config(name)
    sides = {"source": config.data.source, "target": config.data.target}
    if has_labels(config.data.val, config.task.labels):
        sides["val"] = config.data.val
    for ref in sides.values():
        require_root(Path(ref.root))
    return {
        side: _checked(
            ref.format,
            Path(ref.root),
            split=ref.split,
            options=ref.options(),
            with_labels=side != "target" or config.method.sees == "labelled",
            workers=workers,
        )
        for side, ref in sides.items()
    }


def _checked(
    name: str,
    root: Path,
    *,
    split: str | None,
    options: DatasetOptions,
    with_labels: bool = True,
    workers: int | None,
) -> CheckReport:
    """Check a tree with a bar on the terminal."""
    from uda4inst.commands.terminal import counting
    from uda4inst.data.reports.check import check_tree

    with counting("images") as show:
        return check_tree(
            name,
            root,
            split=split,
            options=options,
            with_labels=with_labels,
            workers=workers,
            progress=lambda done, total: show(done, total, "images"),
        )


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
    class_map: ClassMapOption = None,
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
    dataset = _open(name, root, split, options_of(annotations, unnumbered, only, class_map))
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
    class_map: ClassMapOption = None,
    unnumbered: UnnumberedOption = "ignore",
    workers: _Workers = None,
) -> None:
    """Write a labelled tree in COCO's format, or as a tree named like Cityscapes'."""
    from uda4inst.commands.terminal import counting
    from uda4inst.data.reports.export import export_cityscapes, export_coco

    if to not in ("coco", "cityscapes"):
        raise UserError(f"--to must be coco or cityscapes, got {to!r}.")
    dataset = _open(name, root, split, options_of(annotations, unnumbered, only, class_map))
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
    annotations: Path | None,
    unnumbered: str,
    only: Path | None = None,
    class_map: Path | None = None,
) -> DatasetOptions:
    """Return how the tree is read."""
    from uda4inst.data.tree import DatasetOptions, Unnumbered
    from uda4inst.formats.class_map import read_class_map
    from uda4inst.formats.image_list import read_image_list

    if unnumbered not in (known := get_args(Unnumbered)):
        raise UserError(f"--unnumbered must be one of {', '.join(known)}, got {unnumbered!r}.")
    return DatasetOptions(
        unnumbered=cast(Unnumbered, unnumbered),
        annotations=annotations,
        only=None if only is None else read_image_list(only),
        class_map=None if class_map is None else read_class_map(class_map),
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
