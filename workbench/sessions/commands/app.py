"""`uda4inst inspect`: data in FiftyOne, from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uda4inst.errors import UserError
from workbench.sessions.commands.embeddings import embeddings
from workbench.sessions.commands.options import (
    Events,
    Fresh,
    Headless,
    Limit,
    Port,
    Remote,
    TargetLabels,
)
from workbench.sessions.commands.predictions import predictions
from workbench.sessions.commands.run import run
from workbench.sessions.commands.showing import How, show

if TYPE_CHECKING:
    from uda4inst.structures import Domain
    from workbench.sessions.building import DataSession, Progress
    from workbench.sessions.request import DataRequest

_Name = Annotated[
    str | None,
    typer.Argument(
        metavar="FORMAT", help="Format of the tree, or a preset or YAML file: both domains."
    ),
]
_Root = Annotated[
    Path | None, typer.Argument(metavar="ROOT", help="The data set's folder; not for a preset.")
]
_Source = Annotated[
    str | None,
    typer.Option(
        metavar="YAML",
        help="Instead: source images, as below data.source of a configuration, such as "
        "'{format: urbansyn, root: FOLDER}'.",
    ),
]
_Target = Annotated[
    str | None, typer.Option(metavar="YAML", help="The same of target images; or both.")
]
_Also = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="An image to hold whatever --limit leaves out; may be repeated."
    ),
]

inspect_app = typer.Typer(no_args_is_help=True, help="Look at data in FiftyOne.")


@inspect_app.callback()
def _inspect() -> None:
    """Look at data in FiftyOne."""


@inspect_app.command("data")
def data(
    name: _Name = None,
    root: _Root = None,
    split: Annotated[str | None, typer.Option(help="Default: the format's first.")] = None,
    source: _Source = None,
    target: _Target = None,
    target_labels: TargetLabels = False,
    limit: Limit = None,
    also: _Also = None,
    fresh: Fresh = False,
    headless: Headless = False,
    port: Port = None,
    remote: Remote = False,
    events: Events = False,
) -> None:
    """Show a data set, or source and target of a preset, in FiftyOne.

    Ground truth as instance masks and semantic map, ignored regions,
    occlusion and truncation where they are known, counts by class, and
    saved views. Opened again, nothing is read twice; changed data are
    noticed.
    """
    how = How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote, events=events)
    refs: dict[Domain, str | None] = {"source": source, "target": target}
    request = _request(name, root, split, refs, target_labels=target_labels, limit=limit)
    request = replace(request, also=tuple(also or ()))

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.data_session import open_data_session

        return [open_data_session(request, fresh=fresh, progress=progress)]

    show(build, how)


inspect_app.command("run")(run)
inspect_app.command("predictions")(predictions)
inspect_app.command("embeddings")(embeddings)


@inspect_app.command("export-tags")
def export_tags(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Its name in FiftyOne.")],
    tag: Annotated[
        str, typer.Argument(metavar="TAG", help="Of images; one on a label counts for its image.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The image list to write.")],
    domain: Annotated[
        str | None,
        typer.Option(metavar="source|target", help="Needed where images of both have the tag."),
    ] = None,
) -> None:
    """Write the images with a tag as an image list.

    Training (data.source.only=FILE, data.target.only=FILE), evaluation and export take it.
    """
    if domain not in (None, "source", "target"):
        raise UserError(f"--domain must be source or target, got {domain!r}.")
    from workbench.sessions.image_lists import export_tag

    count = export_tag(dataset, tag, file, domain=domain)
    typer.echo(f"{count} images: {file}")


def _request(
    name: str | None,
    root: Path | None,
    split: str | None,
    refs: Mapping[Domain, str | None],
    *,
    target_labels: bool,
    limit: int | None,
) -> DataRequest:
    """Return what is asked for.

    Raises:
        UserError: neither a format with its folder, nor a preset alone, nor domains by option.
    """
    from uda4inst.data.readers import DATASETS
    from workbench.sessions.request import request_preset, request_refs, request_tree

    named: dict[Domain, str] = {domain: text for domain, text in refs.items() if text is not None}
    if named and (name is not None or split is not None):
        raise UserError("--source and --target must stand alone, got FORMAT or --split as well.")
    if named:
        return request_refs(named, target_labels=target_labels, limit=limit)
    if name is None:
        raise UserError("images must be named, got nothing. Name FORMAT ROOT, or a preset.")
    if root is not None:
        return request_tree(name, root, split=split, target_labels=target_labels, limit=limit)
    if name in DATASETS:
        raise UserError(f"ROOT must be given with a format, got {name} alone. Name its folder.")
    if split is not None:
        raise UserError(f"--split must go with FORMAT ROOT, got a preset ({name}). Leave it out.")
    return request_preset(name, target_labels=target_labels, limit=limit)
