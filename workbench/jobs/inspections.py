"""FiftyOne sessions as processes of their own: what each is doing, and its end with the app.

A session is `uda4inst inspect ... --events`: it says on its standard output how far it is and where
its page is, and ends when its standard input does. The other end of that pipe is held here and
nowhere else, so sessions end with the app however the app ends; nothing of them is kept on disk.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Final, Literal

from uda4inst.errors import UserError
from uda4inst.reading import parse_json
from workbench.sessions.installed import require_fiftyone

logger = logging.getLogger(__name__)

OPENER: Final[tuple[str, ...]] = (sys.executable, "-m", "uda4inst.cli")
_PATIENCE: Final = 30.0  # seconds for a session to end by itself before it is killed
_LATE: Final = 2.0  # seconds for its last words to be read
_ERROR: Final = "error: "  # before the message of a command that was refused
_LAST_LINES: Final = 6


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a session shows: the same for the same arguments.

    Args:
        title: for people.
        arguments: of `uda4inst inspect`.
    """

    title: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SavedView:
    """A saved view of an open session: its name, how many images it has, and where it is."""

    name: str
    images: int
    address: str


@dataclass(frozen=True, slots=True)
class FiftyOneSession:
    """What is known of a session.

    Args:
        number: its own in this app.
        inspection: what it shows.
        since: unix seconds of its start.
        state: building (FiftyOne starting included), open, failed, or closing.
        doing: what it is at, where anything has to be done: adding images, judging predictions.
        done: so far, of that.
        total: in all; 0 while that is not known.
        address: of its page, once it is open.
        images: how many it holds, then.
        views: saved ones, then.
        error: why it failed.
    """

    number: int
    inspection: Inspection
    since: float
    state: Literal["building", "open", "failed", "closing"] = "building"
    doing: str = ""
    done: int = 0
    total: int = 0
    address: str = ""
    images: int = 0
    views: tuple[SavedView, ...] = ()
    error: str = ""


@dataclass(slots=True)
class _Running:
    """A session with its process."""

    session: FiftyOneSession
    process: subprocess.Popen[bytes]
    console: IO[bytes] = field(repr=False)


class Inspections:
    """Opens, lists and closes sessions.

    Args:
        opener: command that understands `inspect`.
        require: raises a `UserError` where there is no FiftyOne.
    """

    def __init__(
        self,
        *,
        opener: Sequence[str] = OPENER,
        require: Callable[[], None] = require_fiftyone,
    ) -> None:
        self._opener = tuple(opener)
        self._require = require
        self._lock = threading.Lock()
        self._running: dict[int, _Running] = {}
        self._count = 0

    def open(self, inspection: Inspection) -> FiftyOneSession:
        """Return the session of an inspection, started unless it is there.

        Raises:
            UserError: FiftyOne is not installed.
        """
        with self._lock:
            known = self._find(inspection)
            if known is not None and known.session.state != "failed":
                return known.session
            self._require()
            if known is not None:
                del self._running[known.session.number]
            started = self._start(inspection)
            self._running[started.session.number] = started
        threading.Thread(target=self._follow, args=(started,), daemon=True).start()
        return started.session

    def look(self, inspection: Inspection) -> FiftyOneSession | None:
        """Return what is known of the session of an inspection; None when there is none."""
        with self._lock:
            known = self._find(inspection)
            return None if known is None else known.session

    def all(self) -> list[FiftyOneSession]:
        """Return every session, the oldest first."""
        with self._lock:
            return [one.session for one in self._running.values()]

    def close(self, number: int) -> None:
        """End a session; one that has failed is only taken off the list.

        Raises:
            UserError: there is none of that number.
        """
        with self._lock:
            one = self._running.get(number)
            if one is None:
                raise UserError("a session to close must be open, got none. Nothing was done.")
            if one.session.state == "failed":
                del self._running[number]
                return
            if one.session.state == "closing":
                return
            self._change(one, state="closing")
        _end_input(one.process)
        threading.Thread(target=_end, args=(one.process,), daemon=True).start()

    def _find(self, inspection: Inspection) -> _Running | None:
        """Return the session of an inspection that is not about to end."""
        return next(
            (
                one
                for one in self._running.values()
                if one.session.inspection.arguments == inspection.arguments
                and one.session.state != "closing"
            ),
            None,
        )

    def _start(self, inspection: Inspection) -> _Running:
        self._count += 1
        console = tempfile.TemporaryFile()  # noqa: SIM115  closed when its process has ended
        process = subprocess.Popen(
            (*self._opener, "inspect", *inspection.arguments, "--events"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=console,
            start_new_session=True,  # Ctrl-C is the app's; its end is theirs
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
        )
        logger.info("opening %s: process %d", inspection.title, process.pid)
        return _Running(FiftyOneSession(self._count, inspection, time.time()), process, console)

    def _follow(self, one: _Running) -> None:
        """Hear what a session says until it ends, then see how it ended."""
        hearing = threading.Thread(target=self._hear, args=(one,), daemon=True)
        hearing.start()
        status = one.process.wait()
        hearing.join(_LATE)  # not for ever: what the session has started may hold its output open
        _end_input(one.process)
        with self._lock, one.console:
            if one.session.state == "closing":
                self._running.pop(one.session.number, None)
            else:
                one.console.seek(0)
                said = one.console.read().decode("utf-8", "replace")
                self._change(one, state="failed", error=message_of(said, status))

    def _hear(self, one: _Running) -> None:
        assert one.process.stdout is not None
        with one.process.stdout as lines:
            for line in lines:
                event = _read_event(line)
                with self._lock:
                    if event is not None and one.session.state in ("building", "open"):
                        self._change(one, **event)

    def _change(self, one: _Running, **changes: Any) -> None:
        one.session = replace(one.session, **changes)


def message_of(console: str, status: int) -> str:
    """Return why a session ended, from what it wrote on standard error.

    Example:
        >>> message_of("error: ROOT must be there.", 2)
        'ROOT must be there.'
        >>> message_of("", -9)
        'The session ended without a word (exit code -9). Open it again.'
    """
    _, found, message = f"\n{console}".rpartition(f"\n{_ERROR}")
    if found:
        return message.strip()
    lines = [line for line in console.splitlines() if line.strip()]
    if lines and status:
        return "\n".join(lines[-_LAST_LINES:])
    return f"The session ended without a word (exit code {status}). Open it again."


def _read_event(line: bytes) -> Mapping[str, Any] | None:
    """Return what a line changes in what is known of a session; None for other lines."""
    try:
        said = parse_json(line)
        kind = said["event"]
        if kind == "building":
            return {key: said[key] for key in ("doing", "done", "total")}
        if kind != "open":
            return None
        views = [SavedView(v["name"], v["images"], v["address"]) for v in said["views"]]
        return {
            "state": "open",
            "address": said["address"],
            "images": said["images"],
            "views": tuple(views),
        }
    except (ValueError, TypeError, KeyError):
        return None  # of a library, which may print what it likes


def _end_input(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe whose end tells a session to end."""
    assert process.stdin is not None
    try:
        process.stdin.close()
    except OSError:
        logger.debug("process %d has ended by itself", process.pid)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a session to end; kill one that does not."""
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        logger.warning("process %d does not end; it is killed", process.pid)
        process.kill()
