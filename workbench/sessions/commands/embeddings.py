"""`uda4inst inspect embeddings`: where networks hold images, and how far apart the domains are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from uda4inst.errors import UserError
from workbench.sessions.commands.options import Events, Fresh, Headless, Limit, Port, Remote
from workbench.sessions.commands.showing import How, show

if TYPE_CHECKING:
    from workbench.sessions.building import DataSession, Progress
    from workbench.sessions.embedding_session import Method


def embeddings(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    step: Annotated[
        list[int] | None,
        typer.Option(
            min=0, help="Of a checkpoint; default: before and after stage 2. May be repeated."
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(metavar="student|teacher", help="Whose features.")
    ] = "student",
    method: Annotated[
        str | None,
        typer.Option(
            metavar="pca|umap",
            help="What makes the map; default: umap where it is installed, else pca.",
        ),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    limit: Limit = 200,
    fresh: Fresh = False,
    headless: Headless = False,
    port: Port = None,
    remote: Remote = False,
    events: Events = False,
) -> None:
    """Show where a run's networks hold images, and how far apart the domains are.

    A map of every network and step, from its own features, in the
    Embeddings panel: colour it by domain, lasso what you want to see.
    The gap is the squared maximum mean discrepancy, 0 for equal
    distributions; two halves of the target beside it say what chance
    makes.
    """
    if network not in ("student", "teacher"):
        raise UserError(f"--network must be student or teacher, got {network!r}.")
    if method not in (None, "pca", "umap"):
        raise UserError(f"--method must be pca or umap, got {method!r}.")
    from uda4inst.run_folder.layout import find_run

    found = find_run(run, root=root)

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.embedding_session import open_embedding_session

        session = open_embedding_session(
            found,
            steps=step or (),
            network=network,
            method=cast("Method | None", method),
            limit=limit,
            fresh=fresh,
            progress=progress,
        )
        if not headless and not events:
            for facts in session.summary["maps"].values():
                typer.echo(f"{facts['title']}: {_gap_words(facts)}")
        return [session]

    how = How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote, events=events)
    show(build, how)


def _gap_words(facts: Mapping[str, float | None]) -> str:
    """Return the gap and what chance makes, as people read it."""
    gap, chance = facts["gap"], facts["gap_within_target"]
    if gap is None:
        return "gap between the domains unknown, of fewer than two images"
    within = "" if chance is None else f" (between halves of the target {chance:.3f})"
    return f"gap between the domains {gap:.3f}{within}"
