"""What the Data page shows, as FiftyOne can show it."""

from __future__ import annotations

import json
import shlex
from typing import Final

from uda4inst.data.config import DatasetRef
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from workbench.fiftyone_bar import Inspected
from workbench.jobs.inspections import Inspection
from workbench.services import Services
from workbench.session import SessionState
from workbench.sessions.installed import ASKED
from workbench.stores.data_sets import SIDES, Side, labels_wanted, place_in

LIMIT: Final = 1000  # images of each domain: about a minute on two cores at 1024x2048


def inspected(services: Services, state: SessionState) -> Inspected:
    """Return source and target as they are chosen, read as the run reads them.

    Of a domain with more images than `LIMIT` so many, spread evenly, and the image on screen; a
    note says so.

    Raises:
        UserError: a format is unknown, or neither side names a folder.
    """
    words, titles, left_out, also = ["data"], [], [], []
    for side in SIDES:
        ref = services.data_sets.ref(state, side)
        if ref is not None:
            facts = ref.model_dump(mode="json", exclude_defaults=True)
            words += [f"--{side}", json.dumps(facts, ensure_ascii=False)]
            titles.append(f"{side} {ref.format} {ref.split}")
            images = _images(services, state, side, ref)
            if images is not None and len(images) > LIMIT:
                left_out.append(f"{LIMIT:,} of {len(images):,} {side} images")
                also.append(images.basename(place_in(state, side, len(images))))
    if not titles:
        raise UserError("images must be named to be opened, got no folder. Name one.")
    if state.data.target_labels:
        words.append("--target-labels")
        titles[-1] += " with its labels"
    if not left_out:
        return Inspected(Inspection(", ".join(titles), tuple(words)))
    note = (
        f"{' and '.join(left_out)}, spread evenly, and the images on screen "
        f"({', '.join(also)}). All of them: "
        f"{shlex.join(['uda4inst', 'inspect', *words])}"
    )
    words += ["--limit", str(LIMIT), *(word for name in also for word in ("--also", name))]
    return Inspected(Inspection(", ".join([*titles, *also]), tuple(words)), (ASKED,), note)


def _images(
    services: Services, state: SessionState, side: Side, ref: DatasetRef
) -> ImageTree | None:
    """Return the images of a side; None where they cannot be listed, which the session says."""
    try:
        return services.data_sets.open(ref, side, labels=labels_wanted(state, side))
    except UserError:
        return None
