"""What the Pseudo-labels page shows, as FiftyOne can show it."""

from __future__ import annotations

from uda4inst.errors import UserError
from workbench.fiftyone_bar import Inspected
from workbench.jobs.inspections import Inspection
from workbench.services import Services
from workbench.session import SessionState
from workbench.snapshot_bar import chosen_step
from workbench.stores.groups import shown_name


def inspected(services: Services, state: SessionState) -> Inspected:
    """Return what training saw at the snapshot, of the network that is looked at.

    Raises:
        UserError: there is no snapshot.
    """
    run, step = services.network(state), chosen_step(services, state)
    if run is None or step is None:
        raise UserError("a run to open must have a snapshot, got none. Choose another run.")
    words: tuple[str, ...] = (
        "run",
        str(services.runs.root / run),
        "--show",
        "training",
        "--step",
        str(step),
    )
    title = f"what {shown_name(run)} saw at step {step:,}"
    if state.target_labels:
        words += ("--target-labels",)
        title += ", with the target's labels"
    return Inspected(Inspection(title, tuple(words)), (f"step {step}",))
