"""`python app.py` and `uda4inst app`: the workbench, from a command line."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import typer

from uda4inst.errors import UserError

app = typer.Typer(add_completion=False)


def open_app(arguments: Sequence[str] | None = None, *, prog: str = "python app.py") -> None:
    """Parse the arguments, make the services and serve until interrupted.

    Args:
        arguments: words of the command line; None: this process's own.
        prog: how the command is called, for its help.

    Raises:
        UserError: gradio is not installed.
        SystemExit: an argument is not right; what, where and what to do stands in the message.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError(
            "The workbench must have gradio, which is not installed: pip install "
            "'uda4inst[workbench]', or make venv in a checkout."
        )
    from workbench.app import serve
    from workbench.gate.options import exposure_of, make_parser
    from workbench.services import make_services

    parser = make_parser(prog)
    options = parser.parse_args(arguments)
    try:
        exposure = exposure_of(options)
        services = make_services(options.runs, data_root=options.data, suites_root=options.suites)
        serve(services, exposure)
    except UserError as error:
        parser.exit(2, f"error: {error}\n")


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def command(context: typer.Context) -> None:
    """Open the workbench in a browser."""
    open_app(context.args, prog="uda4inst app")
