"""What the Error maps page shows, as FiftyOne can show it."""

from __future__ import annotations

from uda4inst.errors import UserError
from workbench.fiftyone_bar import Inspected
from workbench.jobs.inspections import Inspection
from workbench.pages.error_maps.choice import class_names, looked_at, sides
from workbench.services import Services
from workbench.session import SessionState
from workbench.sessions.predicted import evaluation_key
from workbench.stores.evaluations import Evaluated
from workbench.stores.groups import shown_name


def inspected(services: Services, state: SessionState) -> Inspected:
    """Return A, and B where there is one, with the errors of the class that is picked.

    Raises:
        UserError: nothing was evaluated.
    """
    a, b = sides(services, state)
    if a is None:
        raise UserError(
            "a run to open must have stored predictions, detections or semantic maps, got none. "
            "Choose another run, or evaluate it."
        )
    both = list(dict.fromkeys(one for one in (a, b) if one is not None))
    words = ["run", *(_word(services, one) for one in both)]
    title = " and ".join(_title(one) for one in both)
    choice = looked_at(services, state)
    if choice.images:
        words += ["--images", str(services.places.check(choice.images, what="image list"))]
        title += f", {choice.images}"
    picked: tuple[str, ...] = ("images by error",)
    if choice.thing is not None:
        name = class_names(services, state)[choice.thing]
        kinds = ("misses", "false positives", "errors")  # the last of pixels
        picked = tuple(f"{kind} of {name}" for kind in kinds)
    views = tuple(f"{_key(services, one)}: {what}" for one in both for what in picked)
    return Inspected(Inspection(title, tuple(words)), views)


def _word(services: Services, which: Evaluated) -> str:
    return f"{services.runs.root / which.run}@{which.step}:{which.network}"


def _key(services: Services, which: Evaluated) -> str:
    """Return what begins the names of the saved views of one side alone.

    Runs on the same images share a session's data set, so it may have views of others as well.
    """
    run, task = services.runs.dir(which.run), services.runs.task(which.run)
    return evaluation_key(run, which.step, which.network, task=task)


def _title(which: Evaluated) -> str:
    return f"{shown_name(which.run)} {which.network} {which.step:,}"
