"""Runs as the command line names them: RUN, RUN@STEP or RUN@STEP:NETWORK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from uda4inst.run_folder.layout import RunDir, find_run
from workbench.sessions.predicted import Predicted, find_predicted

_NAMED: Final = re.compile(r"(?P<run>.+)@(?P<step>\d+)(?::(?P<network>student|teacher))?")


def find_named(
    name: str, *, root: Path, step: int | None = None, network: str | None = None
) -> list[Predicted]:
    """Return what a run has stored.

    Args:
        name: of the run, with a step and a network of its own or without.
        root: where runs lie.
        step: where the name has none; None for the run's last.
        network: where the name has none; None for all that were judged.

    Raises:
        UserError: there is no such run, or it has no such predictions.
    """
    parts = None if _is_run(name, root) else _NAMED.fullmatch(name)
    if parts is not None:
        name, step = parts["run"], int(parts["step"])
        network = parts["network"] or network
    return find_predicted([find_run(name, root=root)], step=step, network=network)


def _is_run(name: str, root: Path) -> bool:
    """Whether a name is a run's as it stands, whatever signs are in it."""
    return any(RunDir(path).config.is_file() for path in (Path(name), root / name))
