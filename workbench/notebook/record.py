"""Runs notebooks and keeps their outputs, small and the same for the same results.

`python -m workbench.notebook.record notebooks/02_*.ipynb`, or `make record-notebooks`. The file
then says which cells its outputs are of; a test holds them to the cells it has.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

from uda4inst.atomic import write_whole
from uda4inst.errors import UserError

KEY: Final = "uda4inst"
# Kept of a notebook's metadata; the rest is of the program and the day it was run with.
_KEPT: Final = ("kernelspec", "language_info")


def digest(notebook: Any) -> str:
    """Return twelve hexadecimal digits that change with a notebook's code."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:12]


def record(path: Path) -> None:
    """Run a notebook where it lies and write its outputs into it.

    Raises:
        UserError: a cell warned.
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=None, resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False, record_timing=False,
    )  # fmt: skip
    client.execute()
    for cell in notebook.cells:
        if any(output.get("name") == "stderr" for output in cell.get("outputs", ())):
            raise UserError(f"cells must not warn, got a warning ({path}): {cell.source[:200]}")
    notebook.metadata = {name: notebook.metadata[name] for name in _KEPT}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata[KEY] = {"code": digest(notebook)}
    write_whole(path, nbformat.writes(notebook) + "\n")


def main(arguments: Sequence[str]) -> None:
    """Record the notebooks that are named."""
    for name in arguments:
        record(Path(name))
        sys.stdout.write(f"recorded: {name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
