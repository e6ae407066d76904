"""Whether FiftyOne is there, and where the project's own files for it lie; nothing is imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from uda4inst.errors import UserError

# Below the working directory; database, masks, locks and image lists of the project lie in it.
FOLDER: Final = Path("fiftyone")
LISTS: Final = "lists"
ASKED: Final = "images asked for"  # the saved view of those that were named
_REMEDY: Final = (
    "Install it with all else in one call: make venv, or pip install -e '.[workbench,inspection]'."
)


def require_fiftyone() -> None:
    """Check that FiftyOne can be imported; a folder of its name is none.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:
        raise UserError(f"inspection must have FiftyOne, got an installation without it. {_REMEDY}")
