"""A session for the program that started it: JSON lines out, and an end with standard input.

Each line of standard output is a JSON object that says where the session is:

    {"event": "building", "doing": "Adding images", "done": 120, "total": 500}
    {"event": "open", "data_set": NAME, "title": TITLE, "images": 500, "address": ADDRESS,
     "views": [{"name": NAME, "images": 12, "address": ADDRESS}, ...]}

What FiftyOne prints goes to standard error. A mistake of the user is told as always: "error: " and
a message on standard error, exit code 2. The session ends when its standard input does, which
happens whenever the program that holds the other end is gone, however it ended.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any, TextIO

from workbench.sessions.building import DataSession, Progress
from workbench.sessions.serve import address_of, serving, wait_for_end


def serve_for_program(
    build: Callable[[Progress], Sequence[DataSession]],
    port: int | None,
) -> None:
    """Build sessions and serve the first until the process is told to end, saying how far it is.

    Args:
        build: returns the sessions; given what is called while it does.
        port: of the page; None for the first free one.

    Raises:
        UserError: whatever `build` raises, or the port is in use.
    """
    out = sys.stdout

    def say_progress(doing: str, done: int, total: int) -> None:
        _say(out, "building", doing=doing, done=done, total=total)

    with redirect_stdout(sys.stderr):
        session = build(say_progress)[0]
        with serving(session.dataset, port) as number:
            _say(out, "open", **opened(session, number))
            wait_for_end()


def opened(session: DataSession, port: int) -> Mapping[str, Any]:
    """Return what the program is told of a session that is served.

    Its address is that of the whole, whatever view people would see first: programs choose theirs.
    """
    dataset, summary = session.dataset, session.summary
    return {
        **{key: summary[key] for key in ("data_set", "title", "images")},
        "address": address_of(dataset, port),
        "views": [
            {"name": name, "images": images, "address": address_of(dataset, port, name)}
            for name, images in summary["views"].items()
        ],
    }


def _say(out: TextIO, event: str, **facts: Any) -> None:
    out.write(json.dumps({"event": event, **facts}) + "\n")
    out.flush()
