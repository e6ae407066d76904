"""What tests of FiftyOne need, and where its files go meanwhile."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from uda4inst.doctor import find_mongod

PATIENCE = 120.0


def require_fiftyone() -> None:
    """Skip a file where FiftyOne is missing; called before anything that imports it."""
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:
        pytest.skip("FiftyOne is not installed: make venv installs it", allow_module_level=True)
    if "FIFTYONE_DATABASE_DIR" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="uda4inst-fiftyone-"))
        os.environ["FIFTYONE_DATABASE_DIR"] = str(folder / "database")
        os.environ["FIFTYONE_DEFAULT_DATASET_DIR"] = str(folder / "data_sets")
        os.environ["FIFTYONE_PLUGINS_DIR"] = str(folder / "extensions")


def require_database() -> None:
    """Skip a file where FiftyOne, or a database for it, is missing."""
    require_fiftyone()
    if find_mongod() is None and "FIFTYONE_DATABASE_URI" not in os.environ:
        pytest.skip("no mongod: uda4inst doctor says what to do", allow_module_level=True)


def environment() -> dict[str, str]:
    """Return an environment that configures nothing of FiftyOne."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("FIFTYONE_")}
    return plain | {"OMP_NUM_THREADS": "1"}


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the databases, and their guardians, that keep data in a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder / "fiftyone" / "database") in (process.info["cmdline"] or [])
    ]


def wait_until_gone(folder: Path) -> None:
    began = time.monotonic()
    while processes_in(folder) and time.monotonic() - began < PATIENCE:
        time.sleep(0.2)
    assert processes_in(folder) == []
