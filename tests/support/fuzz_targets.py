"""Every reader of a file of somebody else's, as a function of the file's bytes.

Each puts the bytes where its reader looks and reads them: what comes is a value or a `UserError`
(of the parsers below readers a `ValueError`), whatever the bytes are. `fuzz.py` looks for bytes of
which that is not true; `tests/fuzz` reads those that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fuzz_data_sets import DATA_SET_TARGETS, seeds_in_trees
from fuzz_run_folders import RUN_FOLDER_TARGETS
from fuzz_target import Target

TARGETS: Final[Mapping[str, Target]] = {**DATA_SET_TARGETS, **RUN_FOLDER_TARGETS}


def seeds_of(name: str, folder: Path) -> Sequence[bytes]:
    """Return whole files of a target, in a folder for its trees."""
    return TARGETS[name].seeds or seeds_in_trees(name, folder)
