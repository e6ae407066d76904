"""`uda4inst inspect`: data in FiftyOne, from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from workbench.sessions.commands.showing import How, show

if TYPE_CHECKING:
    from uda4inst.structures import Domain
    from workbench.sessions.building import DataSession, Progress
    from workbench.sessions.request import DataRequest

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
    target_labels: TargetLabels = False,
    limit: Limit = None,
    fresh: Fresh = False,
    headless: Headless = False,
    port: Port = None,
    remote: Remote = False,
    events: Events = False,
) -> None:
    """Show a data set, or source and target of a preset, in FiftyOne.

    Ground truth as instance masks and semantic map, ignored regions, occlusion and truncation where
    they are known, counts by class, and saved views. Opened again, nothing is read twice; changed
    data are noticed.
    """
    how = How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote, events=events)
    refs: dict[Domain, str | None] = {"source": source, "target": target}
    request = _request(name, root, split, refs, target_labels=target_labels, limit=limit)

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.data_session import open_data_session

        return [open_data_session(request, fresh=fresh, progress=progress)]

    show(build, how)


@inspect_app.command("run")
def run(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, or names under --root; RUN@STEP or RUN@STEP:NETWORK for one of its "
            "own, where they are judged.",
        ),
    ],
    what: Annotated[
        str,
        typer.Option(
            "--show",
            metavar="judged|training",
            help="What runs predict, or what their training saw.",
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
    images: Annotated[
        Path | None,
        typer.Option(help="Of judged images show and judge those this file lists, a name a line."),
    ] = None,
    target_labels: TargetLabels = False,
    limit: Limit = None,
    fresh: Fresh = False,
    headless: Headless = False,
    port: Port = None,
    remote: Remote = False,
    events: Events = False,
) -> None:
    """Show what runs predict on the images they are judged on, or what their training saw.

    Judged: runs, networks and steps side by side over one copy of the images, each object right or
    wrong; AP, or mIoU, is that of `uda4inst evaluate`. Training: the images of the snapshots, mixed
    or not, with each object's origin, the teacher's detections kept, ignored or dropped, the
    rare-class pool, losses and counts of the step; one data set a run.
    """
    if network not in (None, "student", "teacher"):
        raise UserError(f"--network must be student or teacher, got {network!r}.")
    if what not in ("judged", "training"):
        raise UserError(f"--show must be judged or training, got {what!r}.")
    how = How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote, events=events)
    if what == "training":
        if images is not None:
            raise UserError("--images must go with judged images, got --show training as well.")
        _show_training(runs, root, step, how, target_labels=target_labels)
        return
    if target_labels:
        raise UserError(
            "--target-labels must go with --show training, got judged images, whose labels are "
            "shown in any case. Leave it out."
        )
    from workbench.sessions.named_runs import find_named

    predicted = [
        one for name in runs for one in find_named(name, root=root, step=step, network=network)
    ]

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.run_session import open_run_session

        return [
            open_run_session(predicted, images=images, limit=limit, fresh=fresh, progress=progress)
        ]

    show(build, how)


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


def _show_training(
    runs: Sequence[str], root: Path, step: int | None, how: How, *, target_labels: bool
) -> None:
    """Show what the training of runs saw."""
    from uda4inst.run_folder.layout import find_run
    from workbench.sessions.seen.request import SeenRequest

    requests = [
        SeenRequest(
            find_run(run, root=root), target_labels=target_labels, limit=how.limit, step=step
        )
        for run in runs
    ]
    for request in requests:
        request.places()  # what cannot be shown is told before a database starts

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.seen.session import open_seen_session

        return [open_seen_session(r, fresh=how.fresh, progress=progress) for r in requests]

    show(build, how, view=None if step is None else f"step {step}")
