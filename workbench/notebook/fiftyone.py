"""FiftyOne below a cell: a session of `uda4inst inspect`, and its saved views to step through."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from html import escape
from typing import Final

from uda4inst.errors import UserError
from uda4inst.training.config import Config
from workbench.jobs.inspections import FiftyOneSession, Inspection, Inspections
from workbench.notebook.shown import Line, Text
from workbench.notebook.stepper import Stepper

EVERYTHING: Final = "all images"
_POLL_SECONDS: Final = 0.3
_HEIGHT: Final = 620

# Sessions end with the kernel, or when they are closed.
_SESSIONS: Final = Inspections()


@dataclass(frozen=True, slots=True)
class _Frame:
    """A page within the notebook, and the way to it in a window of its own."""

    address: str
    text: str

    def html(self) -> str:
        address = escape(self.address)
        return (
            f'<a href="{address}" target="_blank">{escape(self.text)}: open in a window</a>'
            f'<iframe src="{address}" title="{escape(self.text)}" '
            f'style="width:100%;height:{_HEIGHT}px;border:1px solid #ccc"></iframe>'
        )


class FiftyOneViews(Stepper):
    """The saved views of an open session; its page stands below the menu."""

    def __init__(self, session: FiftyOneSession) -> None:
        self._session = session
        places = {EVERYTHING: (session.address, session.images)}
        places |= {view.name: (view.address, view.images) for view in session.views}

        def draw(view: str) -> _Frame:
            address, images = places[view]
            return _Frame(address, f"{view}, {images} images")

        super().__init__(draw, {"view": list(places)})

    def listed(self) -> Text:
        """Return the saved views with how many images each has."""
        lines = [f"| {view.name} | {view.images:,} |" for view in self._session.views]
        head = ["| saved view | images |", "|:--|--:|"]
        return Text("\n".join([f"{self._session.images:,} images.", "", *head, *lines]))

    def close(self) -> None:
        """End the session, and with it FiftyOne's page."""
        _SESSIONS.close(self._session.number)
        super().close()


def inspect_data(config: Config, *, limit: int | None = None) -> FiftyOneViews:
    """Open source and target of a configuration; see `inspect`.

    Args:
        config: its data.
        limit: so many images of each, spread evenly; None for all.
    """
    words = ["data"]
    for side, ref in (("--source", config.data.source), ("--target", config.data.target)):
        facts = ref.model_dump(mode="json", exclude_defaults=True)
        words += [side, json.dumps(facts, ensure_ascii=False)]
    words += [] if limit is None else ["--limit", str(limit)]
    return inspect(shlex.join(words))


def inspect(words: str) -> FiftyOneViews:
    """Open what `uda4inst inspect` would; the cell says how far it is.

    Args:
        words: what stands behind `uda4inst inspect`; quoted as in a shell.

    Raises:
        UserError: FiftyOne is not installed, or the command was refused.
    """
    line = Line()
    inspection = Inspection(words, tuple(shlex.split(words)))
    session = _SESSIONS.open(inspection)
    while session.state == "building":
        line(
            f"{session.doing or session.inspection.title}: {session.done} of {session.total or '?'}"
        )
        time.sleep(_POLL_SECONDS)
        session = _SESSIONS.look(inspection) or session
    if session.state != "open":
        raise UserError(session.error or "the session was closed.")
    line(f"`uda4inst inspect {words}` is open: {session.images:,} images.", at_once=True)
    return FiftyOneViews(session)
