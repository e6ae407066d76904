"""`uda4inst pack` and `uda4inst unpack`: a run, or a suite's scores, as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pack(
    run: Annotated[
        str,
        typer.Argument(help="A run folder, the name of a run under --root, or a suite's folder."),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(help="Archive to write; default: RUN.run.zip or SUITE.suite.zip, here."),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(min=0, help="Of a run: step of the checkpoint; default: the latest."),
    ] = None,
    resumable: Annotated[
        bool,
        typer.Option("--resumable", help="Of a run: with what training goes on from; larger."),
    ] = False,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Write one archive of what a paper needs of a run or a suite.

    Of a run: configuration, weights of one step, all scores, metrics, log,
    versions and commits. Of a suite: the same of every finished run without
    weights, metrics and log, with the scores that intervals come from. Each
    with a hash of every file. Paths and the name of the machine are in it, as
    they are in the run.
    """
    from uda4inst.errors import UserError
    from uda4inst.exchange import packed_runs, packed_suites
    from uda4inst.run_folder.layout import find_run
    from uda4inst.suites.folder import SuiteFolder

    if SuiteFolder(Path(run)).description.is_file():
        if step is not None or resumable:
            raise UserError(
                "--step and --resumable must be left out for a suite, whose networks are not "
                f"packed ({run}). Pack its runs one by one: uda4inst pack {run}/runs/NAME."
            )
        path = out or Path(f"{Path(run).resolve().name}{packed_suites.SUFFIX}")
        runs = packed_suites.pack_suite(Path(run), path)
        said = f", scores of {runs} finished runs"
    else:
        try:
            found = find_run(run, root=root)
        except UserError as error:
            raise UserError(f"{error} A suite is given by its folder, with suite.yaml.") from error
        path = out or Path(f"{found.path.resolve().name}{packed_runs.SUFFIX}")
        packed_runs.pack_run(found, path, step=step, is_resumable=resumable)
        said = ""
    typer.echo(f"written: {path} ({path.stat().st_size / 2**20:.1f} MiB{said})")


def unpack(
    archive: Annotated[Path, typer.Argument(help="An archive of uda4inst pack.")],
    name: Annotated[
        str | None, typer.Argument(help="Of the run or suite folder; default: the one it had.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that holds the runs or suites; default: runs, suites."),
    ] = None,
) -> None:
    """Make a run or a suite's folder of an archive, every file compared with its hash."""
    from uda4inst.errors import UserError
    from uda4inst.exchange import packed_runs, packed_suites
    from uda4inst.exchange.archives import read_format

    if name is not None and Path(name).name != name:
        raise UserError(
            f"NAME must be that of a folder alone, got {name!r}. The folder that holds it: --root."
        )
    if read_format(archive) == packed_suites.KIND.format:
        suite = packed_suites.unpack_suite(archive, root=root or Path("suites"), name=name)
        path = suite.folder.path
        typer.echo(
            f"{suite.files} files are as they were packed: {path}, scores of {suite.runs} runs. "
            f"Its tables: uda4inst report {path}"
        )
        return
    done = packed_runs.unpack_run(archive, root=root or Path("runs"), name=name)
    steps = ", ".join(str(step) for step in done.steps)
    more = "" if done.is_resumable else " It holds networks alone: it cannot be resumed."
    typer.echo(f"{done.files} files are as they were packed: {done.run.path}, step {steps}.{more}")
