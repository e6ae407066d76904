"""`uda4inst inspect predictions`: predictions made elsewhere, judged, in FiftyOne."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.sessions.commands.options import Events, Fresh, Headless, Limit, Port, Remote
from workbench.sessions.commands.showing import How, show

if TYPE_CHECKING:
    from workbench.sessions.building import DataSession, Progress


def predictions(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PREDICTIONS...",
            help="Cityscapes submission folders, COCO results, or predictions files of runs.",
        ),
    ],
    target: Annotated[Path, typer.Option(help="The labelled data set's folder.")],
    target_format: Annotated[
        str, typer.Option("--format", help="The data set's format.")
    ] = "cityscapes",
    split: Annotated[str, typer.Option(help="Its split.")] = "val",
    limit: Limit = None,
    fresh: Fresh = False,
    headless: Headless = False,
    port: Port = None,
    remote: Remote = False,
    events: Events = False,
) -> None:
    """Show predictions made elsewhere, side by side, each object right or wrong.

    AP is that of `uda4inst evaluate --predictions`. Saved views are those
    of `inspect run`.
    """
    from workbench.sessions.request import JUDGED_SPLITS, request_tree

    request = request_tree(
        target_format,
        target,
        split=split,
        target_labels=split not in JUDGED_SPLITS,  # whoever judges has the labels
        limit=limit,
    )

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.foreign import open_foreign_session

        return [open_foreign_session(paths, request, fresh=fresh, progress=progress)]

    how = How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote, events=events)
    show(build, how)
