"""Commands that other packages bring along, by the entry points of one group.

The core knows neither their names nor their packages: they are looked up when a name is none of its
own, or when help lists them all.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

import typer
from typer.core import TyperGroup

from uda4inst.errors import UserError

GROUP: Final = "uda4inst.commands"


@cache
def _found() -> dict[str, EntryPoint]:
    """Return the entry points by the name of their command."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


class WithPlugIns(TyperGroup):
    """A group of commands to which installed packages add some."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, its own first."""
        own = super().list_commands(ctx)
        return [*own, *sorted(_found().keys() - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command of its own, else of a package that brings one."""
        own = super().get_command(ctx, cmd_name)
        entry = None if own is not None else _found().get(cmd_name)
        return own if entry is None else _load(entry)


def _load(entry: EntryPoint) -> Any:
    """Return the command of an entry point: of a Typer, or of one that says why there is none."""
    try:
        command = cast(typer.Typer, entry.load())
    except Exception as error:  # whatever a package does when it is imported
        command = _broken(entry, str(error))
    made = typer.main.get_command(command)
    made.name = entry.name
    return made


def _broken(entry: EntryPoint, reason: str) -> typer.Typer:
    """Return a command that fails with a message."""
    app = typer.Typer(add_completion=False)

    @app.command(
        entry.name,
        help="Cannot be loaded.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def fail() -> None:
        raise UserError(
            f"command {entry.name} must be loadable, got {reason} ({entry.value}). Install its "
            "package again."
        )

    return app
