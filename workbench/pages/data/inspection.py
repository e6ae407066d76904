"""What the Data page shows, as FiftyOne can show it."""

from __future__ import annotations

import json

from uda4inst.errors import UserError
from workbench.fiftyone_bar import Inspected
from workbench.jobs.inspections import Inspection
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.data_sets import SIDES


def inspected(services: Services, state: SessionState) -> Inspected:
    """Return source and target as they are chosen, read as the run reads them.

    Raises:
        UserError: a format is unknown, or neither side names a folder.
    """
    words, titles = ["data"], []
    for side in SIDES:
        ref = services.data_sets.ref(state, side)
        if ref is not None:
            facts = ref.model_dump(mode="json", exclude_defaults=True)
            words += [f"--{side}", json.dumps(facts, ensure_ascii=False)]
            titles.append(f"{side} {ref.format} {ref.split}")
    if not titles:
        raise UserError("images must be named to be opened, got no folder. Name one.")
    if state.data.target_labels:
        words.append("--target-labels")
        titles[-1] += " with its labels"
    return Inspected(Inspection(", ".join(titles), tuple(words)))
