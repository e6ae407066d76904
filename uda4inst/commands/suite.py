"""`uda4inst suite` and `uda4inst report`: the paper's tables as one command each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from uda4inst.suites.folder import SuiteFolder
    from uda4inst.suites.plan import Plan
    from uda4inst.suites.rows import Network, ProtocolName
    from uda4inst.suites.runner import SuiteOutcome, SuiteProgress

_Name = TypeVar("_Name", bound=str)
# Spelled out: what knows the suites imports torch, and help must be quick.
SUITE_NAMES: Final = (
    "table1, table2, table3, table4, table5, thresholds, alignment, extensions, balance, semantic, "
    "daformer, ehtdi, meta_pseudo_labels, semantic_methods"
)


def suite(
    name: Annotated[str, typer.Argument(help=f"{SUITE_NAMES}.")],
    scale: Annotated[str, typer.Option(help="smoke, toy or paper.")] = "toy",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    scenes: Annotated[
        str,
        typer.Option(
            help="Seeds of scene sets, separated by commas (scale toy; drawn where missing)."
        ),
    ] = "",
    rows: Annotated[
        str, typer.Option(help="Keys of the rows to run, separated by commas; default: all.")
    ] = "",
    root: Annotated[Path, typer.Option(help="Folder that holds the suites.")] = Path("suites"),
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at the same time; default: as many as there are devices."),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, ray or slurm.")] = "local",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting for every run (key=value), or of one preset (PRESET:key=...)."
        ),
    ] = None,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Take finished runs of equal configuration from the suites in --root."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the runs and what is left to do.")
    ] = False,
) -> None:
    """Run one of the paper's tables: what is finished is skipped, what was cut short goes on."""
    from uda4inst.commands.terminal import counting
    from uda4inst.suites.engines import open_engine
    from uda4inst.suites.plan import plan_suite

    plan = plan_suite(
        name,
        scale,
        seeds=_parse_seeds("--seeds", seeds),
        scenes=_parse_seeds("--scenes", scenes) if scenes else (),
        rows=[key.strip() for key in rows.split(",") if key.strip()],
        root=root,
        overrides=overrides or [],
    )
    if dry_run:
        _list_runs(plan, plan.reusable() if reuse else {})
        return
    if reuse:
        plan.take_over(_say_reused)
    opened = open_engine(engine, at_once=at_once, folder=plan.folder.path)
    with counting("scenes") as show:
        plan.draw_scenes(lambda scenes, done, total: show(done, total, f"scenes {scenes}"))
    with _showing(plan.folder) as watch:
        outcome = plan.run(opened, watch=watch)
    _finish(plan.folder, outcome)


def report(
    suite_folder: Annotated[Path, typer.Argument(help="A folder that `uda4inst suite` made.")],
    network: Annotated[str | None, typer.Option(help="student or teacher; default: both.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="cityscapes, coco or pixels; default: all.")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another suite's folder: things by pixels of both, of instances and of semantic "
            "maps, in one table (things.md, things.csv). May be given several times."
        ),
    ] = None,
) -> None:
    """Write the paper's table with its numbers and ours: Markdown, CSV, LaTeX and charts."""
    from uda4inst.suites import results, things
    from uda4inst.suites.report import markdown, write_report
    from uda4inst.tasks import TASKS

    _choose("--network", network, results.NETWORKS)
    _choose("--protocol", protocol, tuple(p for t in TASKS.values() for p in t.protocols))
    found = results.collect(suite_folder)
    if beside:
        together = things.compare_things([found, *map(results.collect, beside)])
        written = things.write_things(together, suite_folder / "report")
        typer.echo(things.markdown(together))
        for path in written:
            typer.echo(f"written: {path}", err=True)
        return
    networks: Sequence[Network] = _choose("--network", network, found.networks)
    protocols: Sequence[ProtocolName] = _choose("--protocol", protocol, found.protocols)
    written = write_report(found, suite_folder / "report", networks=networks, protocols=protocols)
    typer.echo(markdown(found, [(protocols[0], networks[0])]))
    for path in written:
        typer.echo(f"written: {path}", err=True)


def _choose(option: str, value: str | None, known: tuple[_Name, ...]) -> tuple[_Name, ...]:
    """Return the chosen one of some names, or all of them."""
    chosen = tuple(name for name in known if value in (None, name))
    if not chosen:
        raise UserError(f"{option} must be one of {', '.join(known)}, got {value!r}.")
    return chosen


def _say_reused(run: str, source: Path) -> None:
    typer.echo(f"{run}: taken from {source}", err=True)


def _parse_seeds(option: str, text: str) -> list[int]:
    """Return the seeds of a text such as 0,1,2.

    Raises:
        UserError: they are not whole numbers.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"{option} must be whole numbers separated by commas, got {text!r}. "
            f"For example: {option} 0,1,2"
        ) from None


def _list_runs(plan: Plan, reused: Mapping[str, Path]) -> None:
    """Print the runs and what is left of each.

    Args:
        plan: of the suite.
        reused: where runs would be taken from, by name.
    """
    from uda4inst.run_folder.status import is_finished

    to_do = {run.name for run in plan.without(reused)}
    for run in plan.chosen.runs:
        folder = plan.folder.run(run.name)
        if run.name in reused:
            state = f"taken from {reused[run.name]}"
        elif is_finished(folder):
            state = "finished"
        elif run.name not in to_do:
            state = "not needed"
        else:
            state = "go on" if folder.config.is_file() else "begin"
        start = f" from {run.stage1}" if run.stage1 else ""
        steps = run.config.training.total_steps
        typer.echo(f"{run.name}: {state}, {steps} steps{start}, configuration {run.config_hash}")


def _finish(place: SuiteFolder, outcome: SuiteOutcome) -> None:
    """Say how the suite ended, and exit so."""
    for name, error in outcome.errors.items():
        typer.echo(f"{name}: {outcome.ends[name]}: {error} ({place.logs / name}.txt)", err=True)
    if outcome.signal:
        typer.echo(f"stopped; the same command goes on with it ({place.path})", err=True)
        raise typer.Exit(128 + outcome.signal)
    if not outcome.is_good:
        raise typer.Exit(1)
    typer.echo(f"finished; its tables: uda4inst report {place.path}", err=True)


@contextmanager
def _showing(place: SuiteFolder) -> Iterator[Callable[[SuiteProgress], None]]:
    """Give a function that shows the progress of a suite on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with _bars(console, place) as watch:
            yield watch
        return
    yield _say_news


def _say_news(progress: SuiteProgress) -> None:
    """Print a line when something happens."""
    if progress.news:
        typer.echo(f"{progress.done}/{progress.runs} {progress.news}", err=True)


@contextmanager
def _bars(console: Console, place: SuiteFolder) -> Iterator[Callable[[SuiteProgress], None]]:
    """Draw one bar for the suite and one for every run at work."""
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[note]}", markup=False),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console) as drawn:
        whole = drawn.add_task(place.path.name, total=None, note="")
        tasks: dict[str, bars.TaskID] = {}

        def watch(progress: SuiteProgress) -> None:
            note = f"{progress.failed} failed" if progress.failed else "runs"
            drawn.update(whole, total=progress.runs, completed=progress.done, note=note)
            for name in tasks.keys() - {run.name for run in progress.running}:
                drawn.remove_task(tasks.pop(name))
            for run in progress.running:
                if run.name not in tasks:
                    tasks[run.name] = drawn.add_task(run.name, total=None, note="")
                drawn.update(tasks[run.name], total=run.steps, completed=run.step, note=run.message)
            if progress.news:
                drawn.console.print(progress.news, markup=False, highlight=False)

        yield watch
