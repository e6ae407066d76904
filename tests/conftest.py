"""Shared test set-up: shapes and types of the core are checked at run time, threads are few."""

from __future__ import annotations

import os
import tempfile

os.environ["UDA4INST_CACHE"] = tempfile.mkdtemp(prefix="uda4inst-cache-")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from jaxtyping import install_import_hook

# Every annotated array in these packages is checked against its declared type and shape.
install_import_hook(
    ["uda4inst.structures", "uda4inst.ops", "uda4inst.uda", "uda4inst.methods"],
    "beartype.beartype",
)
