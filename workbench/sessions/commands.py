"""`uda4inst inspect`: data in FiftyOne, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.run_folder.layout import RunDir
    from workbench.sessions.building import DataSession, Progress
    from workbench.sessions.embedding_session import Method
    from workbench.sessions.request import DataRequest

_Limit = Annotated[int | None, typer.Option(min=1, help="Images of each domain, spread evenly.")]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Build it again.")]
_Headless = Annotated[
    bool, typer.Option("--headless", help="Build, print a JSON summary, and end.")
]
_TargetLabels = Annotated[
    bool,
    typer.Option(
        "--target-labels", help="Show the target's training labels, marked as diagnostics."
    ),
]
_Port = Annotated[
    int | None, typer.Option(help="Of the page; default: the first free one from 5151.")
]
_Remote = Annotated[
    bool, typer.Option("--remote", help="Open no browser; say how to reach the page.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """The options that all sessions have."""

    limit: int | None
    fresh: bool
    headless: bool
    port: int | None
    remote: bool


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
    target_labels: _TargetLabels = False,
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

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.data_session import open_data_session

        return [open_data_session(request, fresh=fresh, progress=progress)]

    how = _How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote)
    _show(build, "images", how)


@inspect_app.command("run")
def run(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or names under --root.")
    ],
    show: Annotated[
        str,
        typer.Option(
            metavar="judged|training", help="What runs predict, or what their training saw."
        ),
    ] = "judged",
    step: Annotated[
        int | None,
        typer.Option(help="Evaluated step (default: each run's last), or snapshot (default: all)."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="student|teacher",
            help="Default: all that were judged. What training saw is the same of both.",
        ),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    target_labels: _TargetLabels = False,
    limit: _Limit = None,
    fresh: _Fresh = False,
    headless: _Headless = False,
    port: _Port = None,
    remote: _Remote = False,
) -> None:
    """Show what runs predict on the images they are judged on, or what their training saw.

    Judged: runs, networks and steps side by side over one copy of the images, each object right or
    wrong; AP, or mIoU, is that of `uda4inst evaluate`. Training: the images of the snapshots, mixed
    or not, with each object's origin, the teacher's detections kept, ignored or dropped, the
    rare-class pool, losses and counts of the step; one data set a run.
    """
    if network not in (None, "student", "teacher"):
        raise UserError(f"--network must be student or teacher, got {network!r}.")
    if show not in ("judged", "training"):
        raise UserError(f"--show must be judged or training, got {show!r}.")
    from uda4inst.run_folder.layout import find_run

    found = [find_run(name, root=root) for name in runs]
    how = _How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote)
    if show == "training":
        _show_training(found, step, how, target_labels=target_labels)
        return
    if target_labels:
        raise UserError(
            "--target-labels must go with --show training, got judged images, whose labels are "
            "shown in any case. Leave it out."
        )
    _show_judged(found, step, network, how)


@inspect_app.command("embeddings")
def embeddings(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    step: Annotated[
        list[int] | None,
        typer.Option(help="Of a checkpoint, may be repeated; default: the first and last kept."),
    ] = None,
    network: Annotated[str, typer.Option(metavar="student|teacher")] = "student",
    method: Annotated[
        str | None,
        typer.Option(metavar="pca|umap", help="Default: umap where it is installed, else pca."),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    limit: _Limit = 200,
    fresh: _Fresh = False,
    headless: _Headless = False,
    port: _Port = None,
    remote: _Remote = False,
) -> None:
    """Show where a run's networks hold source, target and mixed images, and the domains' gap.

    A map of every network and step, from its own features, in the Embeddings panel: colour it by
    domain, lasso what you want to see. The gap is the squared maximum mean discrepancy, 0 for equal
    distributions; two halves of the target beside it say what chance makes.
    """
    if network not in ("student", "teacher"):
        raise UserError(f"--network must be student or teacher, got {network!r}.")
    if method not in (None, "pca", "umap"):
        raise UserError(f"--method must be pca or umap, got {method!r}.")
    from uda4inst.run_folder.layout import find_run

    found = find_run(run, root=root)
    how = _How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote)
    _show_embeddings(found, step or (), network, cast("Method | None", method), how)


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


def _show_judged(runs: Sequence[RunDir], step: int | None, network: str | None, how: _How) -> None:
    """Show what runs predict."""
    from workbench.sessions.predicted import find_predicted

    predicted = find_predicted(runs, step=step, network=network)

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.run_session import open_run_session

        return [open_run_session(predicted, limit=how.limit, fresh=how.fresh, progress=progress)]

    _show(build, "images", how)


def _show_training(
    runs: Sequence[RunDir], step: int | None, how: _How, *, target_labels: bool
) -> None:
    """Show what the training of runs saw."""
    from workbench.sessions.seen.request import SeenRequest

    requests = [
        SeenRequest(run, target_labels=target_labels, limit=how.limit, step=step) for run in runs
    ]
    for request in requests:
        request.places()  # what cannot be shown is told before a database starts

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.seen.session import open_seen_session

        return [open_seen_session(r, fresh=how.fresh, progress=progress) for r in requests]

    _show(build, "snapshots", how, view=None if step is None else f"step {step}")


def _show_embeddings(
    run: RunDir, steps: Sequence[int], network: str, method: Method | None, how: _How
) -> None:
    """Show maps of a run's images, having said how far apart the domains are."""
    from workbench.sessions.embedding_session import open_embedding_session

    def build(progress: Progress) -> list[DataSession]:
        session = open_embedding_session(
            run,
            steps=steps,
            network=network,
            method=method,
            limit=how.limit,
            fresh=how.fresh,
            progress=progress,
        )
        if not how.headless:
            for facts in session.summary["maps"].values():
                typer.echo(f"{facts['title']}: {_gap_words(facts)}")
        return [session]

    _show(build, "images", how)


def _gap_words(facts: Mapping[str, float | None]) -> str:
    """Return the gap and what chance makes, as people read it."""
    gap, chance = facts["gap"], facts["gap_within_target"]
    if gap is None:
        return "gap between the domains unknown, of fewer than two images"
    within = "" if chance is None else f" (between halves of the target {chance:.3f})"
    return f"gap between the domains {gap:.3f}{within}"


def _show(
    build: Callable[[Progress], Sequence[DataSession]],
    what: str,
    how: _How,
    *,
    view: str | None = None,
) -> None:
    """Build or find data sets, with a bar on a terminal; print what they hold, or serve them.

    Args:
        build: opens the sessions.
        what: the bar counts.
        how: the options.
        view: saved view that the page opens on.
    """
    from uda4inst.commands.terminal import counting

    if not how.headless:
        from workbench.sessions.serve import free_port

        free_port(how.port)  # before anything is built
    with counting(what) as bar:
        sessions = build(lambda done, total: bar(done, total, what))
    if not how.headless:
        _serve(sessions, how, view)
        return
    summaries = [dict(session.summary) for session in sessions]
    typer.echo(json.dumps(summaries[0] if len(summaries) == 1 else summaries, indent=1))


def _serve(sessions: Sequence[DataSession], how: _How, view: str | None) -> None:
    """Serve sessions, open on the first, until it is ended."""
    import webbrowser

    from workbench.sessions.serve import address_of, serving, wait_for_end

    with serving(sessions[0].dataset, how.port) as port:
        addresses = [address_of(session.dataset, port, view) for session in sessions]
        for session, address in zip(sessions, addresses, strict=True):
            typer.echo(f"{session.summary['images']} images: {address}")
        if how.remote:
            typer.echo(f"From another machine: ssh -N -L {port}:127.0.0.1:{port} USER@THIS_MACHINE")
        else:
            webbrowser.open(addresses[0])
        typer.echo("Ctrl-C ends the session.")
        wait_for_end()
