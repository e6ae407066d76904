"""An end with standard input: when the program that started a process is gone, so is that one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from typing import Final

_GRACE: Final = 20.0  # seconds to end properly


def end_with_input() -> None:
    """Have this process, and the workers it started, end when standard input does."""
    threading.Thread(target=_watch, name="standard input", daemon=True).start()


def _watch() -> None:
    while os.read(0, 4096):
        pass
    # Workers would wait for work for ever: each holds the other end of the pipe it reads.
    for worker in multiprocessing.active_children():
        worker.terminate()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
