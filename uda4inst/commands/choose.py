"""`uda4inst choose`: a checkpoint and a threshold without labels, and whether that is any good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.run_folder.layout import RunDir


def choose(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run folders, or names of runs under --root.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="Look at the first so many training images of the target.")
    ] = 200,
    thresholds: Annotated[
        str, typer.Option(help="Score thresholds, separated by commas.")
    ] = ".5,.6,.7,.8,.9",
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    suite: Annotated[
        Path | None,
        typer.Option(
            help="Instead of runs: a suite's folder, whose runs' choices are held to true AP."
        ),
    ] = None,
) -> None:
    """Measure how student and teacher agree on unlabelled images, and choose a checkpoint by it.

    For runs of instance segmentation. Everything goes into choice.json in the run's folder; true AP
    stands beside it where the step was evaluated, and plays no part.
    """
    if bool(runs) == (suite is not None):
        raise UserError(
            "choose must be given a RUN or more, or --suite, got "
            f"{'both' if runs else 'neither'}. For example: uda4inst choose runs/demo"
        )
    if suite is not None:
        _of_suite(suite)
    else:
        _of_runs(runs or [], images=images, thresholds=_parse_thresholds(thresholds), root=root)


def _of_runs(names: list[str], *, images: int, thresholds: tuple[float, ...], root: Path) -> None:
    """Measure runs, one after another; none before all of them are known to have checkpoints."""
    from uda4inst.commands.terminal import counting
    from uda4inst.run_folder.layout import find_run
    from uda4inst.training.choosing import check_can_choose, choose_checkpoint

    found = [find_run(name, root=root) for name in names]
    for run in found:
        check_can_choose(run)
    for run in found:
        with counting("loading") as show:
            written = choose_checkpoint(run, images=images, thresholds=thresholds, progress=show)
        for folder, record in written.items():
            _print_choice(folder, record)


def _of_suite(folder: Path) -> None:
    """Collect what was measured of a suite's runs and print how it goes with true AP."""
    from uda4inst.suites.choices import collect_choices, markdown, write_choices

    found = collect_choices(folder)
    written = write_choices(found)
    typer.echo(markdown(found))
    for path in written:
        typer.echo(f"written: {path}", err=True)


def _parse_thresholds(text: str) -> tuple[float, ...]:
    """Return the thresholds of a text such as .5,.9, lowest first.

    Raises:
        UserError: they are not different numbers from 0 to 1.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or len(set(values)) < len(values) or not all(0 <= v < 1 for v in values):
        raise UserError(
            "--thresholds must be different numbers from 0 to below 1, separated by commas, got "
            f"{text!r}. For example: --thresholds .5,.7,.9"
        )
    return tuple(sorted(values))


def _print_choice(run: RunDir, record: Mapping[str, Any]) -> None:
    """Print what was measured, shares in [0, 1], and the choice in a line of its own."""
    from rich.console import Console
    from rich.table import Table

    from uda4inst.run_folder.choices import parse_choice

    choice = parse_choice(record)
    table = Table(title=f"{run.name}, {choice.images} unlabelled images")
    table.add_column("step", justify="right")
    for name in ("threshold", "agreement", "F1", "stability", "F1", "labels", "AP*"):
        table.add_column(name, justify="right")
    for line in choice.lines:
        shares = (line.agreement, line.agreement_f1, line.stability, line.stability_f1)
        is_chosen = choice.chosen == (line.step, line.threshold)
        table.add_row(
            f"{line.step}",
            f"{line.threshold:g}",
            *(_share(value) for value in shares),
            f"{line.pseudo_labels:.2f}",
            _share(line.ap),
            style="bold" if is_chosen else None,
        )
    Console().print(table)
    if choice.chosen is None:
        said = f"no choice: nothing found, or nothing to compare ({choice.by})"
    else:
        step, threshold = choice.chosen
        said = f"chosen by {choice.by}: step {step}, threshold {threshold:g}"
    typer.echo(f"{run.path}: {said}. * true AP is diagnostic: no choice looks at it.")
    for judged in dict.fromkeys(line.judged for line in choice.lines if line.judged):
        typer.echo(f"* {judged}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
