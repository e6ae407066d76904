"""Options that several commands of `uda4inst inspect` have."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.sessions.ending import end_with_input

Limit = Annotated[int | None, typer.Option(min=1, help="Images of each domain, spread evenly.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Build it again.")]
Headless = Annotated[bool, typer.Option("--headless", help="Build, print a JSON summary, and end.")]
TargetLabels = Annotated[
    bool,
    typer.Option(
        "--target-labels", help="Show the target's training labels, marked as diagnostics."
    ),
]
Port = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Of the page; default: the first free one from 5151."),
]
Remote = Annotated[
    bool, typer.Option("--remote", help="Open no browser; say how to reach the page.")
]


def _with_program(events: bool) -> bool:
    """Begin to watch the program that asks for events, before anything that takes a while."""
    if events:
        end_with_input()
    return events


Events = Annotated[
    bool,
    typer.Option(
        "--events",
        callback=_with_program,
        help="For programs: JSON lines say how far it is, then where the page and each view are; "
        "it ends when standard input does.",
    ),
]
