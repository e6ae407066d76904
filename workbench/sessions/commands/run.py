"""`uda4inst inspect run`: what runs predict, or what their training saw, in FiftyOne."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uda4inst.errors import UserError
from workbench.sessions.commands.options import (
    Events,
    Fresh,
    Headless,
    Limit,
    Port,
    Remote,
    TargetLabels,
)
from workbench.sessions.commands.showing import How, show

if TYPE_CHECKING:
    from workbench.sessions.building import DataSession, Progress

_Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Run folders, or names under --root; RUN@STEP or RUN@STEP:NETWORK for one of its "
        "own, where they are judged.",
    ),
]
_What = Annotated[
    str,
    typer.Option(
        "--show",
        metavar="judged|training",
        help="What runs predict, or what their training saw.",
    ),
]
_Step = Annotated[
    int | None,
    typer.Option(
        min=0, help="Evaluated step (default: each run's last), or snapshot (default: all)."
    ),
]
_Network = Annotated[
    str | None,
    typer.Option(
        metavar="student|teacher",
        help="Whose predictions; default: all that were judged. "
        "What training saw is the same of both.",
    ),
]
_Root = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
_Images = Annotated[
    Path | None,
    typer.Option(help="Of judged images show and judge those this file lists, a name a line."),
]


def run(
    runs: _Runs,
    what: _What = "judged",
    step: _Step = None,
    network: _Network = None,
    root: _Root = Path("runs"),
    images: _Images = None,
    target_labels: TargetLabels = False,
    limit: Limit = None,
    fresh: Fresh = False,
    headless: Headless = False,
    port: Port = None,
    remote: Remote = False,
    events: Events = False,
) -> None:
    """Show what runs predict on images, or what their training saw.

    Judged: runs, networks and steps side by side over one copy of the
    images, each object right or wrong; AP, or mIoU, is that of
    `uda4inst evaluate`. Training: the images of the snapshots, mixed or
    not, with each object's origin, the teacher's detections kept,
    ignored or dropped, the rare-class pool, losses and counts of the
    step; one data set a run.
    """
    if network not in (None, "student", "teacher"):
        raise UserError(f"--network must be student or teacher, got {network!r}.")
    how = How(limit=limit, fresh=fresh, headless=headless, port=port, remote=remote, events=events)
    if what == "judged":
        _refuse_target_labels(target_labels)
        _show_judged(runs, root, step, network, images, how)
    elif what == "training":
        _refuse_images(images)
        _show_training(runs, root, step, how, target_labels=target_labels)
    else:
        raise UserError(f"--show must be judged or training, got {what!r}.")


def _refuse_target_labels(asked: bool) -> None:
    """Refuse to be asked for labels that are shown in any case."""
    if asked:
        raise UserError(
            "--target-labels must go with --show training, got judged images, whose labels are "
            "shown in any case. Leave it out."
        )


def _refuse_images(asked: Path | None) -> None:
    """Refuse a list of images where snapshots are shown."""
    if asked is not None:
        raise UserError("--images must go with judged images, got --show training as well.")


def _show_judged(
    runs: Sequence[str],
    root: Path,
    step: int | None,
    network: str | None,
    images: Path | None,
    how: How,
) -> None:
    """Show what runs predict."""
    from workbench.sessions.named_runs import find_named

    predicted = [
        one for name in runs for one in find_named(name, root=root, step=step, network=network)
    ]

    def build(progress: Progress) -> list[DataSession]:
        from workbench.sessions.run_session import open_run_session

        return [
            open_run_session(
                predicted, images=images, limit=how.limit, fresh=how.fresh, progress=progress
            )
        ]

    show(build, how)


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
