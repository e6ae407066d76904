"""Whether the data of a suite are there, before its first run starts."""

from __future__ import annotations

from collections.abc import Iterable

from uda4inst.errors import UserError
from uda4inst.suites.expand import RunSpec
from uda4inst.suites.scales import Scale
from uda4inst.training.batches import open_data
from uda4inst.training.config import Config


def check_data(runs: Iterable[RunSpec], scale: Scale) -> None:
    """Open every data set that runs will read, without looking at its images.

    Args:
        runs: those that are to be trained.
        scale: their size; it may know how its data are made.

    Raises:
        UserError: trees are missing or incomplete; one message about all of them.
    """
    # Rows differ in little that decides which trees are read, and seeds in nothing.
    different = {
        (run.config.data.model_dump_json(), run.config.method.name): run.config for run in runs
    }
    faults = dict.fromkeys(fault for c in different.values() if (fault := _fault_of(c)))
    if faults and scale.make_data:
        faults[f"The data of this scale are made by: {scale.make_data}"] = None
    if faults:
        raise UserError("\n".join(faults))


def _fault_of(config: Config) -> str | None:
    """Return what is wrong with the first of its trees that cannot be opened."""
    try:
        open_data(config)
    except UserError as error:
        return str(error)
    return None
