"""How sessions are shown: as a summary, in the browser, or to the program that opens them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from workbench.sessions.building import DataSession, Progress


_Build: TypeAlias = "Callable[[Progress], Sequence[DataSession]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """The options that all sessions have.

    Args:
        limit: so many images; None for all.
        fresh: build it again.
        headless: print a summary and end.
        port: of the page; None for the first free one.
        remote: open no browser.
        events: tell a program how far it is.

    Raises:
        UserError: two of them exclude each other.
    """

    limit: int | None
    fresh: bool
    headless: bool
    port: int | None
    remote: bool
    events: bool

    def __post_init__(self) -> None:
        if self.headless and self.events:
            raise UserError("--headless and --events must not go together, got both.")


def show(
    build: _Build,
    how: How,
    *,
    view: str | None = None,
) -> None:
    """Build or find data sets, then print what they hold, or serve them.

    Args:
        build: opens the sessions.
        how: the options.
        view: saved view that the page opens on; programs are told where each is.
    """
    if not how.headless:
        from workbench.sessions.serve import free_port

        free_port(how.port)  # before anything is built
    if how.events:
        from workbench.sessions.events import serve_for_program

        serve_for_program(partial(_built, build), how.port)
        return
    from uda4inst.commands.terminal import counting

    with counting("FiftyOne is starting") as bar:
        sessions = _built(build, lambda doing, done, total: bar(done, total, doing))
    if not how.headless:
        _serve(sessions, how, view)
        return
    summaries = [dict(session.summary) for session in sessions]
    typer.echo(json.dumps(summaries[0] if len(summaries) == 1 else summaries, indent=1))


def _built(build: _Build, progress: Progress) -> Sequence[DataSession]:
    """Return the sessions.

    Raises:
        UserError: whatever `build` raises, or the database went away meanwhile.
    """
    try:
        return build(progress)
    except Exception as error:
        if not type(error).__module__.startswith("pymongo."):
            raise
        from workbench.sessions.database import lost

        raise lost(error) from error


def _serve(sessions: Sequence[DataSession], how: How, view: str | None) -> None:
    """Serve sessions, open on the first, until it is ended."""
    import webbrowser

    from workbench.sessions.serve import address_of, serving, wait_for_end

    with serving(sessions[0].dataset, how.port) as port:
        addresses = [address_of(session.dataset, port, view) for session in sessions]
        for session, address in zip(sessions, addresses, strict=True):
            typer.echo(f"{session.summary['images']} images: {address}")
        if how.remote:
            typer.echo(f"From another machine: ssh -N -L {port}:127.0.0.1:{port} USER@THIS_MACHINE")
        else:
            webbrowser.open(addresses[0])
        typer.echo("Ctrl-C ends the session.")
        wait_for_end()
