"""What the Pseudo-labels page shows, as FiftyOne can show it."""

from __future__ import annotations

import shlex

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
    words = ["run", str(services.runs.root / run), "--show", "training"]
    title = f"what {shown_name(run)} saw at step {step:,}"
    if state.target_labels:
        words.append("--target-labels")
        title += ", with the target's labels"
    note = (
        "The snapshot on screen, beside those opened before. All of them: "
        f"{shlex.join(['uda4inst', 'inspect', *words])}"
    )
    inspection = Inspection(title, (*words, "--step", str(step)))
    is_all = len(services.snapshots.steps(run)) == 1
    return Inspected(inspection, (f"step {step}",), "" if is_all else note)
