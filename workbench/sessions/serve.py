"""A session in the browser: FiftyOne's own page on one data set, until it is ended."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from uda4inst.errors import UserError
from workbench.sessions.extensions import offer_extensions
from workbench.sessions.library import fo
from workbench.sessions.locks import one_at_a_time

HOST: Final = "127.0.0.1"
_FIRST_PORT: Final = 5151  # FiftyOne's own
_PORTS_TRIED: Final = 50


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
    """Return the address of a data set's page, or of one of its saved views."""
    address = f"http://{HOST}:{port}/datasets/{dataset.name}"
    if view is None:
        return address
    return f"{address}?view={fo.core.utils.to_slug(view)}"


@contextmanager
def serving(dataset: fo.Dataset, wanted: int | None) -> Iterator[int]:
    """Serve the page while the block runs, and give its port; no process of it is left behind.

    Raises:
        UserError: the port that was asked for is in use, or all are.
    """
    offer_extensions()
    # A port is free until its server listens: of two that start at once, both would take it.
    with one_at_a_time(Path(tempfile.gettempdir()) / f"uda4inst-ports-{os.getuid()}.lock"):
        port = free_port(wanted)
        session = fo.launch_app(dataset, remote=True, address=HOST, port=port)
    try:
        yield port
    finally:
        session.close()


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
