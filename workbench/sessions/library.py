"""FiftyOne itself, imported with the project's own settings: every module here takes it from here.

FiftyOne reads its settings when it is imported, from the environment and from the user's own file;
what neither of them says is set here. Nothing is started: that is `database.py`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from uda4inst.reading import read_json
from workbench.sessions.installed import FOLDER, require_fiftyone

_PLACES: Final[Mapping[str, str]] = {
    "database_dir": "database",
    "default_dataset_dir": "data_sets",
    "dataset_zoo_dir": "data_sets",
    "model_zoo_dir": "models",
    "plugins_dir": "extensions",
}
_ALWAYS: Final[Mapping[str, str]] = {
    "FIFTYONE_DO_NOT_TRACK": "true",  # no figures of use
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",  # there are our own
    "FIFTYONE_LOGGING_LEVEL": "WARNING",  # a welcome, and what its own command line can do
}


def settings(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment's variables to set before FiftyOne is imported.

    Args:
        folder: the project's own.
        environment: what is set; it has the say, and so has the user's own file of settings.
    """
    configured = _configured(environment)
    chosen = {name: value for name, value in _ALWAYS.items() if name not in environment}
    for name, place in _PLACES.items():
        variable = f"FIFTYONE_{name.upper()}"
        if variable not in environment and name not in configured:
            chosen[variable] = str(folder.absolute() / place)
    return chosen


def _configured(environment: Mapping[str, str]) -> Mapping[str, object]:
    """Return the user's own file of settings; one that cannot be read is FiftyOne's to report."""
    named = environment.get("FIFTYONE_CONFIG_PATH")
    try:
        path = Path(named) if named else Path.home() / ".fiftyone" / "config.json"
        values = read_json(path)
    except (OSError, RuntimeError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


require_fiftyone()
os.environ.update(settings(FOLDER, os.environ))

import fiftyone as fo  # noqa: E402

# Standard output is for answers; FiftyOne and a library of its own send every log there.
for _handler in (*logging.getLogger().handlers, *logging.getLogger("fiftyone").handlers):
    if isinstance(_handler, logging.StreamHandler) and _handler.stream is sys.stdout:
        _handler.setStream(sys.stderr)
# At every page it copies its settings and warns of three that it wrote itself.
logging.getLogger("fiftyone.core.config").setLevel(logging.ERROR)
# What it would remember in the user's home: that it has said welcome.
fo.constants.WELCOME_PATH = str(FOLDER.absolute() / "welcome.json")

__all__ = ["FOLDER", "fo", "settings"]
