"""`uda4inst train` and `uda4inst resume`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from uda4inst.training.loop import Outcome, Progress


def train(
    config: Annotated[
        str, typer.Argument(help="A YAML file, or a preset such as toystreets_demo.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Settings to change, as in method.score_threshold=0.8."
        ),
    ] = None,
) -> None:
    """Train a new run.

    Several processes: accelerate launch --num_processes N -m uda4inst.cli train CONFIG
    """
    from uda4inst.training.config import load_config

    settings = load_config(config, overrides or [])

    def work(watch: Callable[[Progress], None]) -> Outcome:
        from uda4inst.training.groups import category_groups

        return category_groups.train(settings, watch=watch)

    _report(work, where=Path(settings.run.root) / settings.run.name)


def resume(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="On another machine: where the data lie, as in data.val.root=FOLDER, and settings "
            "that change no results.",
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            "--from",
            min=0,
            help="Step of the checkpoint to go on from (default: the latest). A run that has "
            "results after it needs --replace, or a fork.",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Move what came after the step into RUN/replaced/, then do the steps again.",
        ),
    ] = False,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Go on with a run that was stopped or killed; it ends as if it had never stopped."""
    from uda4inst.run_folder.layout import find_run

    found = find_run(run, root=root)

    def work(watch: Callable[[Progress], None]) -> Outcome:
        from uda4inst.training.groups import category_groups

        return category_groups.resume(
            found, step=step, may_replace=replace, overrides=overrides or (), watch=watch
        )

    _report(work, where=found.path)


def fork(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    name: Annotated[str, typer.Argument(help="Name of the new run, which lies under --root.")],
    step: Annotated[
        int | None,
        typer.Option("--from", min=0, help="Step of the checkpoint (default: the latest)."),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Make a run that begins at a checkpoint of another, which stays as it is."""
    from uda4inst.run_folder.layout import find_run
    from uda4inst.training import forks

    new, begins = forks.fork(find_run(run, root=root), name, root=root, step=step)
    typer.echo(f"{new.path} begins at step {begins}; go on with: uda4inst resume {new.path}")


def _report(work: Callable[[Callable[[Progress], None]], Outcome], *, where: Path) -> None:
    """Train with progress on the terminal, and exit as the run ended."""
    from uda4inst.commands.terminal import showing_progress
    from uda4inst.training.journal import RunFailedError

    try:
        with showing_progress() as watch:
            outcome = work(watch)
    except RunFailedError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    if outcome.state == "stopped":
        typer.echo(f"stopped at step {outcome.step}; go on with: uda4inst resume {where}", err=True)
    if outcome.signal:
        raise typer.Exit(128 + outcome.signal)
