"""`uda4inst`: training, evaluation, other programs' formats, tables, data, installation.

Exit codes: 0 done (a run stopped through its control folder counts as done), 2 a mistake of the
user with one message, 1 a run that failed or data in which `data check` found an error, 143 and 130
a training that saved and stopped on SIGTERM and Ctrl-C. Commands import what they need when they
run, so that help is quick; packages beside the core add commands of their own
(`commands/plugged_in.py`).
"""

from __future__ import annotations

import os
import sys

import typer

from uda4inst import __version__
from uda4inst.commands import (
    bench,
    choose,
    convert,
    data,
    doctor,
    evaluate,
    export,
    init,
    pack,
    predict,
    suite,
    train,
)
from uda4inst.commands.plugged_in import WithPlugIns
from uda4inst.errors import UserError

app = typer.Typer(
    name="uda4inst",
    cls=WithPlugIns,
    help="Synthetic-to-real domain adaptation of instance segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("init")(init.init)
app.command("train")(train.train)
app.command("resume")(train.resume)
app.command("fork")(train.fork)
app.command("evaluate")(evaluate.evaluate)
app.command("choose")(choose.choose)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("pack")(pack.pack)
app.command("unpack")(pack.unpack)
app.command("bench")(bench.bench)
app.command("convert")(convert.convert)
app.command("suite")(suite.suite)
app.command("report")(suite.report)
app.add_typer(data.data_app, name="data")
app.add_typer(data.pretrain_app, name="pretrain")
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        from uda4inst.run_folder.commit import current_commit

        commit = current_commit()
        typer.echo(f"uda4inst {__version__}" + (f" ({commit})" if commit else ""))
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show version and commit."
    ),
) -> None:
    """Hold the options of all commands."""


def main() -> None:
    """Run the command line; a mistake of the user ends with one message and exit code 2."""
    # Threads that spin while they wait make every step many times slower as soon as anything else
    # wants a core; read by OpenMP when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        # Of names that are too long, folders that are closed, disks that are full.
        reason = (error.strerror or str(error)).lower()
        typer.echo(
            f"error: file must be usable, got {reason} ({str(error.filename)[:300]}). Check its "
            "name, its permissions and its disk.",
            err=True,
        )
        sys.exit(2)
    except (ImportError, AttributeError, TypeError):
        # What a library of another version looks like from here.
        from uda4inst.doctor import explain_unfit

        if (told := explain_unfit()) is None:
            raise
        typer.echo(f"error: {told}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
