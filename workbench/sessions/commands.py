"""`uda4inst inspect`: data in FiftyOne, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.structures import Domain
    from workbench.sessions.building import DataSession, Progress
    from workbench.sessions.request import DataRequest

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
_Events = Annotated[
    bool,
    typer.Option(
        "--events",
        help="For programs: JSON lines say how far it is, then where the page and each view are; "
        "it ends when standard input does.",
    ),
]

inspect_app = typer.Typer(no_args_is_help=True, help="Look at data in FiftyOne.")


@inspect_app.callback()
def _inspect() -> None:
    """Look at data in FiftyOne."""


@inspect_app.command("data")
def data(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="FORMAT", help="Format of the tree, or a preset or YAML file: both domains."
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Argument(help="The data set's folder; not for a preset.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Default: the format's first.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="YAML",
            help="Instead: source images, as below data.source of a configuration, such as "
            "'{format: urbansyn, root: FOLDER}'.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="YAML", help="The same of target images; or both.")
    ] = None,
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
    events: _Events = False,
) -> None:
    """Show a data set, or source and target of a preset, in FiftyOne.

    Ground truth as instance masks and semantic map, ignored regions, occlusion and truncation where
    they are known, counts by class, and saved views. Opened again, nothing is read twice; changed
    data are noticed.
    """
    how = _How(headless=headless, port=port, remote=remote, events=events)
    refs: dict[Domain, str | None] = {"source": source, "target": target}
    request = _request(name, root, split, refs, target_labels=target_labels, limit=limit)

    def build(progress: Progress) -> DataSession:
        from workbench.sessions.data_session import open_data_session

        return open_data_session(request, fresh=fresh, progress=progress)

    _show(build, how)


@inspect_app.command("run")
def run(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, or names under --root; RUN@STEP or RUN@STEP:NETWORK for one of its "
            "own.",
        ),
    ],
    step: Annotated[
        int | None, typer.Option(help="Evaluated step; default: each run's last.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="student|teacher", help="Default: all that were judged.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    images: Annotated[
        Path | None,
        typer.Option(help="Show and judge the images this file lists alone, one name a line."),
    ] = None,
    limit: _Limit = None,
    fresh: _Fresh = False,
    headless: _Headless = False,
    port: _Port = None,
    remote: _Remote = False,
    events: _Events = False,
) -> None:
    """Show what runs predict on the images they are judged on, judged object by object.

    Runs, networks and steps stand side by side over one copy of the images. AP is that of
    `uda4inst evaluate`. Saved views: misses, false positives, kinds of error, the worst images,
    and what one finds and another misses.
    """
    if network not in (None, "student", "teacher"):
        raise UserError(f"--network must be student or teacher, got {network!r}.")
    how = _How(headless=headless, port=port, remote=remote, events=events)
    from workbench.sessions.named_runs import find_named

    predicted = [
        one for name in runs for one in find_named(name, root=root, step=step, network=network)
    ]

    def build(progress: Progress) -> DataSession:
        from workbench.sessions.run_session import open_run_session

        return open_run_session(
            predicted, images=images, limit=limit, fresh=fresh, progress=progress
        )

    _show(build, how)


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


@dataclass(frozen=True, slots=True)
class _How:
    """How a session is shown, by the options of these names."""

    headless: bool
    port: int | None
    remote: bool
    events: bool

    def __post_init__(self) -> None:
        if self.headless and self.events:
            raise UserError("--headless and --events must not go together, got both.")
        if self.events:  # before anything that takes a while is imported
            from workbench.sessions.ending import end_with_input

            end_with_input()


def _show(build: Callable[[Progress], DataSession], how: _How) -> None:
    """Build a session, then print its summary, or serve it until it is ended."""
    if how.events:
        from workbench.sessions.events import serve_for_program

        serve_for_program(build, how.port)
        return
    if how.headless:
        typer.echo(json.dumps(_with_bar(build).summary, indent=1))
        return
    from workbench.sessions.serve import free_port

    free_port(how.port)  # before anything is built
    _serve(_with_bar(build), how.port, remote=how.remote)


def _with_bar(build: Callable[[Progress], DataSession]) -> DataSession:
    """Build or find a session, with a bar on a terminal."""
    from uda4inst.commands.terminal import counting

    with counting("images") as show:
        return build(lambda done, total: show(done, total, "images"))


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
