"""The app on its port, behind the gate."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

import fastapi
import uvicorn
from starlette.types import ASGIApp

from uda4inst.errors import UserError
from uda4inst.run_folder.alive import creation_time
from workbench.gate.doors import Doors
from workbench.gate.exposure import Exposure, announcement
from workbench.gate.gate import Gate

_PREFIX: Final = "uda4inst-workbench-"
# Gradio's variable: where pictures are put that browsers fetch.
_FOLDER_VARIABLE: Final = "GRADIO_TEMP_DIR"
# For what is at work when the app ends.
_LAST_SECONDS: Final = 2


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder of this process alone for what browsers fetch, and let Gradio use it.

    What apps have left behind that were killed is removed.
    """
    above = Path(os.environ.get(_FOLDER_VARIABLE) or tempfile.gettempdir())
    above.mkdir(parents=True, exist_ok=True)
    for left in above.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and creation_time(int(pid)) is None:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=above))
    before = os.environ.get(_FOLDER_VARIABLE)
    os.environ[_FOLDER_VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ[_FOLDER_VARIABLE]
        else:
            os.environ[_FOLDER_VARIABLE] = before
        shutil.rmtree(folder, ignore_errors=True)


def behind_gate(site: ASGIApp, exposure: Exposure, folder: Path) -> Gate:
    """Return an application behind the gate of one start."""
    is_secure = exposure.certificate is not None
    doors = Doors(exposure.passwords, port=exposure.port, is_secure=is_secure)
    return Gate(site, exposure=exposure, doors=doors, folder=folder)


def serve_behind_gate(mount: Callable[[fastapi.FastAPI], object], exposure: Exposure) -> None:
    """Serve until interrupted.

    Args:
        mount: puts the app into what is served.
        exposure: where and to whom.

    Raises:
        UserError: the address or the port cannot be had.
    """
    with (
        suppress(KeyboardInterrupt),
        closing(_listen(exposure)) as listener,
        own_folder() as folder,
    ):
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was begun is tidied up
        site = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        mount(site)
        gate = behind_gate(site, exposure, folder)
        config = uvicorn.Config(
            gate,
            log_level="error",
            server_header=False,
            timeout_graceful_shutdown=_LAST_SECONDS,
            ssl_certfile=exposure.certificate,
            ssl_keyfile=exposure.key,
        )
        print(announcement(exposure), flush=True)
        _Server(config, gate).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends what browsers hold open before it waits for them to end."""

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end: Ctrl-C or SIGTERM."""
        self._gate.close()
        super().handle_exit(sig, frame)


def _listen(exposure: Exposure) -> socket.socket:
    family = socket.AF_INET6 if ":" in exposure.host else socket.AF_INET
    try:
        return socket.create_server((exposure.host, exposure.port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host and --port must be an address of this machine and a free port, got "
            f"{exposure.host} and {exposure.port} ({error}). Choose another with --port."
        ) from error
