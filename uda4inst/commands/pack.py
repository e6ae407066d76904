"""`uda4inst pack` and `uda4inst unpack`: a run as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pack(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --root.")],
    out: Annotated[
        Path | None, typer.Argument(help="Archive to write; default: RUN.run.zip, here.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Step of the checkpoint; default: the latest.")
    ] = None,
    resumable: Annotated[
        bool,
        typer.Option("--resumable", help="With what training goes on from; larger."),
    ] = False,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Write one archive of what a paper needs of a run.

    Configuration, weights of one step, all scores, metrics, log, versions
    and commits, with a hash of every file. Paths and the name of the
    machine are in it, as they are in the run.
    """
    from uda4inst.exchange.archives import SUFFIX, pack_run
    from uda4inst.run_folder.layout import find_run

    found = find_run(run, root=root)
    path = out or Path(f"{found.path.resolve().name}{SUFFIX}")
    pack_run(found, path, step=step, is_resumable=resumable)
    typer.echo(f"written: {path} ({path.stat().st_size / 2**20:.1f} MiB)")


def unpack(
    archive: Annotated[Path, typer.Argument(help="An archive of uda4inst pack.")],
    name: Annotated[str | None, typer.Argument(help="Of the run; default: the one it had.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Make a run of an archive, every file compared with its hash."""
    from uda4inst.exchange.archives import unpack_run

    done = unpack_run(archive, root=root, name=name)
    steps = ", ".join(str(step) for step in done.steps)
    more = "" if done.is_resumable else " It holds networks alone: it cannot be resumed."
    typer.echo(f"{done.files} files are as they were packed: {done.run.path}, step {steps}.{more}")
