"""What tests of FiftyOne need, and where its files go meanwhile."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path

import pytest

from uda4inst.doctor import find_mongod


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
