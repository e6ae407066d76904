"""Which predictions and images the Error maps page is about, for what was chosen on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.evaluation.semantic_errors import ERROR_CLASSES
from uda4inst.formats.image_list import read_image_list
from uda4inst.tasks.base import Task
from workbench.services import Services
from workbench.session import ImageOrder, SessionState
from workbench.stores.background import Progress
from workbench.stores.evaluations import Evaluated, worst_first
from workbench.stores.groups import module_of


def sides(services: Services, session: SessionState) -> tuple[Evaluated | None, Evaluated | None]:
    """Return what A and B stand for; None for a side without stored predictions."""
    choice = session.errors
    a = _resolve(services, _run_of_a(services, session), choice.step, choice.network)
    b = _resolve(services, choice.other_run, choice.other_step, choice.other_network)
    alike = a is None or b is None or services.runs.task(a.run) == services.runs.task(b.run)
    return a, b if alike else None


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What is looked at of the predictions, as `ErrorChoice` has it.

    Args:
        thing: place of the class among those of the run's task, or None for all.
        score_threshold: only detections scoring more are shown and judged.
        order: of the images.
        position: place of the image in that order, from 0.
        images: file of an image list; None for all images.
    """

    thing: int | None
    score_threshold: float
    order: ImageOrder
    position: int
    images: str | None


def class_names(services: Services, session: SessionState) -> tuple[str, ...]:
    """Return the classes that can be looked at alone, in the order of `LookedAt.thing`."""
    a, _ = sides(services, session)
    return THING_NAMES if a is None else classes_of(services.runs.task(a.run))


def classes_of(task: Task) -> tuple[str, ...]:
    """Return the classes whose errors are told apart in a task's predictions."""
    return ERROR_CLASSES if task.predictions_kind == "label maps" else task.class_names


def looked_at(services: Services, session: SessionState) -> LookedAt:
    """Return what is chosen; of all classes where the run does not have the chosen one."""
    choice, known = session.errors, class_names(services, session)
    _, b = sides(services, session)
    return LookedAt(
        thing=known.index(choice.class_name) if choice.class_name in known else None,
        score_threshold=choice.score_threshold,
        order="worst" if b is None else choice.order,
        position=choice.position,
        images=choice.images,
    )


def still_judging(services: Services, session: SessionState) -> Progress | None:
    """Return how far the judging of all images is; None once `ordered` has them at once.

    Raises:
        UserError: predictions or annotation cannot be read.
    """
    a, b = sides(services, session)
    if a is None:
        return None
    return services.evaluations.judged(a, b, looked_at(services, session).score_threshold)


def ordered(services: Services, session: SessionState) -> Sequence[str]:
    """Return the image names in the order of the page, worst first.

    Raises:
        UserError: predictions, annotation or the image list cannot be read, or no image is left.
    """
    a, b = sides(services, session)
    if a is None:
        return []
    choice = looked_at(services, session)
    index = services.evaluations.index(a, choice.score_threshold)
    other = None
    if b is not None and choice.order == "worse than B":
        other = services.evaluations.index(b, choice.score_threshold)
    names = worst_first(index, choice.thing, other=other)
    if not names:
        raise UserError(
            "images must be in both evaluations to be compared, got none that are. "
            "Choose another run or step for B."
        )
    return names if choice.images is None else _listed(services, a, names, choice.images)


def _listed(services: Services, a: Evaluated, names: Sequence[str], file: str) -> Sequence[str]:
    """Return the names that an image list has, in their order."""
    path = services.places.check(file, what="image list")
    dataset = services.evaluations.predictions(a).dataset
    wanted = {dataset.basename(place) for place in dataset.places(read_image_list(path))}
    found = [name for name in names if name in wanted]
    if not found:
        raise UserError(
            f"image list must name images that were evaluated, got none ({path}). Choose another "
            "list or evaluation."
        )
    return found


def _run_of_a(services: Services, session: SessionState) -> str | None:
    """Return the chosen run (what its groups found together), or the network of a group."""
    run, group = session.run, session.errors.group
    known = run is not None and group is not None and group in services.runs.groups(run)
    return module_of(run, group) if known and run and group else run


def _resolve(
    services: Services, run: str | None, step: int | None, network: str | None
) -> Evaluated | None:
    steps = services.evaluations.steps(run) if run is not None else []
    if run is None or not steps:
        return None
    chosen = step if step in steps else steps[-1]
    networks = services.evaluations.networks(run, chosen)
    return Evaluated(run, chosen, network if network in networks else networks[0])
