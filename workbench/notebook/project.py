"""Where a notebook works, and what it was run with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Final

from uda4inst import __version__
from uda4inst.errors import UserError
from uda4inst.run_folder.commit import current_commit
from uda4inst.suites.machine import hardware
from workbench.notebook.shown import Text
from workbench.notebook.study import Study

# Where notebooks work instead of the project's folder.
FOLDER_VARIABLE: Final = "UDA4INST_NOTEBOOKS"
_PACKAGES: Final = ("torch", "transformers", "numpy", "ipywidgets", "matplotlib")


def start() -> Text:
    """Go to the project's folder, where data, runs and suites lie, and say what works here.

    It is the nearest folder above that holds `notebooks`, or that of UDA4INST_NOTEBOOKS.

    Raises:
        UserError: there is none.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else _project_above(Path.cwd())
    if not folder.is_dir():
        raise UserError(f"{FOLDER_VARIABLE} must name a folder, got {folder}. Make it first.")
    os.chdir(folder)
    return Text(f"uda4inst {__version__} on {platform.machine()}, {os.cpu_count()} cores.")


def _project_above(place: Path) -> Path:
    for folder in (place, *place.parents):
        if (folder / "notebooks").is_dir():
            return folder
    raise UserError(
        f"notebooks must lie in a folder named notebooks, got {place}. Open them from a checkout, "
        f"or say where to work: {FOLDER_VARIABLE}=FOLDER jupyter lab"
    )


def provenance(*studies: Study, hashes: Iterable[tuple[str, str]] = ()) -> Text:
    """Return what everything above was made with: configurations, commit, versions, machine.

    Args:
        studies: whose runs are shown.
        hashes: (what, configuration hash) of single runs.
    """
    listed = [pair for study in studies for pair in study.hashes()] + list(hashes)
    lines = [f"| {name} | `{value}` |" for name, value in dict(listed).items()]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    table = ["| run | configuration |", "|:--|:--|", *lines] if lines else []
    facts = [
        f"uda4inst {__version__}, commit {current_commit() or 'unknown'}; "
        f"Python {platform.python_version()}, {versions}; {hardware()}.",
        *(study.command() for study in studies),
    ]
    return Text("\n".join(table) + "\n\n" + "\n\n".join(facts))
