"""`uda4inst inspect`: data in FiftyOne, from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from workbench.sessions.building import DataSession
    from workbench.sessions.request import DataRequest
    from workbench.sessions.run_session import Predicted

_Limit = Annotated[int | None, typer.Option(min=1, help="Images of each domain, spread evenly.")]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Build it again.")]
_Headless = Annotated[
    bool, typer.Option("--headless", help="Build, print a JSON summary, and end.")
]
_Port = Annotated[
    int | None, typer.Option(help="Of the page; default: the first free one from 5151.")
]
_Remote = Annotated[
    bool, typer.Option("--remote", help="Open no browser; say how to reach the page.")
]

inspect_app = typer.Typer(no_args_is_help=True, help="Look at data in FiftyOne.")


@inspect_app.callback()
def _inspect() -> None:
    """Look at data in FiftyOne."""


@inspect_app.command("data")
def data(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="Format of the tree, or a preset or YAML file: both domains."
        ),
    ],
    root: Annotated[
        Path | None, typer.Argument(help="The data set's folder; not for a preset.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Default: the format's first.")] = None,
    target_labels: Annotated[
        bool,
        typer.Option(
            "--target-labels", help="Show the target's training labels, marked as diagnostics."
        ),
    ] = False,
    limit: _Limit = None,
    fresh: _Fresh = False,
    headless: _Headless = False,
    port: _Port = None,
    remote: _Remote = False,
) -> None:
    """Show a data set, or source and target of a preset, in FiftyOne.

    Ground truth as instance masks and semantic map, ignored regions, occlusion and truncation where
    they are known, counts by class, and saved views. Opened again, nothing is read twice; changed
    data are noticed.
    """
    request = _request(name, root, split, target_labels=target_labels, limit=limit)
    if headless:
        typer.echo(json.dumps(_open(request, fresh=fresh).summary, indent=1))
        return
    from workbench.sessions.serve import free_port

    free_port(port)  # before anything is built
    _serve(_open(request, fresh=fresh), port, remote=remote)


@inspect_app.command("run")
def run(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or names under --root.")
    ],
    step: Annotated[
        int | None, typer.Option(help="Evaluated step; default: each run's last.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="student|teacher", help="Default: all that were judged.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    limit: _Limit = None,
    fresh: _Fresh = False,
    headless: _Headless = False,
    port: _Port = None,
    remote: _Remote = False,
) -> None:
    """Show what runs predict on the images they are judged on, judged object by object.

    Runs, networks and steps stand side by side over one copy of the images. AP is that of
    `uda4inst evaluate`. Saved views: misses, false positives, kinds of error, the worst images,
    and what one finds and another misses.
    """
    if network not in (None, "student", "teacher"):
        raise UserError(f"--network must be student or teacher, got {network!r}.")
    from uda4inst.run_folder.layout import find_run
    from workbench.sessions.run_session import find_predicted

    found = [find_run(name, root=root) for name in runs]
    predicted = find_predicted(found, step=step, network=network)
    if headless:
        session = _open_runs(predicted, limit=limit, fresh=fresh)
        typer.echo(json.dumps(session.summary, indent=1))
        return
    from workbench.sessions.serve import free_port

    free_port(port)
    _serve(_open_runs(predicted, limit=limit, fresh=fresh), port, remote=remote)


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
    name: str, root: Path | None, split: str | None, *, target_labels: bool, limit: int | None
) -> DataRequest:
    """Return what is asked for.

    Raises:
        UserError: neither a format with its folder, nor a preset alone.
    """
    from uda4inst.data.readers import DATASETS
    from workbench.sessions.request import request_preset, request_tree

    if root is not None:
        return request_tree(name, root, split=split, target_labels=target_labels, limit=limit)
    if name in DATASETS:
        raise UserError(f"ROOT must be given with a format, got {name} alone. Name its folder.")
    if split is not None:
        raise UserError(f"--split must go with FORMAT ROOT, got a preset ({name}). Leave it out.")
    return request_preset(name, target_labels=target_labels, limit=limit)


def _open(request: DataRequest, *, fresh: bool) -> DataSession:
    """Build or find the data set, with a bar on a terminal."""
    from uda4inst.commands.terminal import counting
    from workbench.sessions.data_session import open_data_session

    with counting("images") as show:
        return open_data_session(
            request, fresh=fresh, progress=lambda done, total: show(done, total, "images")
        )


def _open_runs(predicted: Sequence[Predicted], *, limit: int | None, fresh: bool) -> DataSession:
    """Build or find the data set of runs, with a bar on a terminal."""
    from uda4inst.commands.terminal import counting
    from workbench.sessions.run_session import open_run_session

    with counting("images") as show:
        return open_run_session(
            predicted,
            limit=limit,
            fresh=fresh,
            progress=lambda done, total: show(done, total, "images"),
        )


def _serve(session: DataSession, wanted: int | None, *, remote: bool) -> None:
    """Serve a session until it is ended."""
    import webbrowser

    from workbench.sessions.serve import address_of, serving, wait_for_end

    with serving(session.dataset, wanted) as port:
        address = address_of(session.dataset, port)
        typer.echo(f"{session.summary['images']} images: {address}")
        if remote:
            typer.echo(f"From another machine: ssh -N -L {port}:127.0.0.1:{port} USER@THIS_MACHINE")
        else:
            webbrowser.open(address)
        typer.echo("Ctrl-C ends the session.")
        wait_for_end()
