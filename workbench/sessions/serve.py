"""A session in the browser: FiftyOne's own page on one data set, until it is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from uda4inst.errors import UserError
from workbench.locks import one_at_a_time
from workbench.sessions.extensions import offer_extensions
from workbench.sessions.library import fo
from workbench.sessions.views import whole_view

HOST: Final = "127.0.0.1"
_FIRST_PORT: Final = 5151  # FiftyOne's own
_PORTS_TRIED: Final = 50
_PATIENCE: Final = 60.0  # seconds; a page that opens too early is better than none


def free_port(wanted: int | None) -> int:
    """Return the port that was asked for, else the first free one from FiftyOne's own.

    A port in use is refused: FiftyOne would join whatever session answers there.

    Raises:
        UserError: it is in use.
    """
    if wanted is not None:
        if not _is_free(wanted):
            raise UserError(
                f"--port must be free, got {wanted}, which is in use. Name another, or none."
            )
        return wanted
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS_TRIED):
        if _is_free(port):
            return port
    raise UserError(f"a port must be free from {_FIRST_PORT} on, got none. Name one with --port.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def address_of(dataset: fo.Dataset, port: int, view: str | None = None) -> str:
    """Return the address of a saved view, or of the whole data set."""
    slug = fo.core.utils.to_slug(view or whole_view(dataset))
    return f"http://{HOST}:{port}/datasets/{dataset.name}?view={slug}"


@contextmanager
def serving(dataset: fo.Dataset, wanted: int | None) -> Iterator[int]:
    """Serve the page while the block runs, and give its port; no process of it is left behind.

    Raises:
        UserError: the port that was asked for is in use, or all are.
    """
    offer_extensions()
    whole_view(dataset)  # the server reads once which views there are
    # A port is free until its server listens: of two that start at once, both would take it.
    with one_at_a_time(Path(tempfile.gettempdir()) / f"uda4inst-ports-{os.getuid()}.lock"):
        port = free_port(wanted)
        session = fo.launch_app(dataset, remote=True, address=HOST, port=port)
    try:
        _wait_until_told(session, port)
        yield port
    finally:
        session.close()


def _wait_until_told(session: fo.Session, port: int) -> None:
    """Wait until the server knows what the session shows.

    FiftyOne tells it in a thread of its own, later than it answers, after 10 seconds where it was
    slow to start; pages that were opened before lose their view then. Having told, the thread hears
    what others tell the server.
    """
    heard = threading.Event()
    session._client.add_event_listener("select_samples", lambda event: heard.set())
    word = {"event": "select_samples", "data": {"samples": []}, "subscription": "uda4inst-session"}
    request = urllib.request.Request(
        f"http://{HOST}:{port}/event",
        data=json.dumps(word).encode(),
        headers={"Content-type": "application/json"},
    )
    deadline = time.monotonic() + _PATIENCE
    while not heard.is_set() and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(request, timeout=_PATIENCE):
            heard.wait(0.5)
        time.sleep(0.1)


def wait_for_end() -> None:
    """Wait until Ctrl-C or SIGTERM ends the session."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
