"""What the Error maps page shows for a choice: pictures and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from uda4inst.colors import ERROR_COLORS, RIGHT, VOID, WRONG
from uda4inst.draw import DrawnDetection, draw_detections, error_overlay, overlay_instances
from uda4inst.errors import UserError
from uda4inst.evaluation.error_maps import error_map, predicted_classes, true_classes
from uda4inst.evaluation.semantic_errors import ERROR_CLASSES
from workbench.pages.error_maps import semantic
from workbench.pages.error_maps.choice import (
    LookedAt,
    classes_of,
    looked_at,
    ordered,
    sides,
    still_judging,
)
from workbench.pages.error_maps.confusions import confusions
from workbench.pages.error_maps.controls import ALL, ALL_GROUPS, ControlsView, controls_view
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.background import Progress
from workbench.stores.evaluations import (
    Evaluated,
    PredictionSet,
    SemanticSet,
)
from workbench.stores.groups import group_text, module_of, split_name
from workbench.ui import markup
from workbench.ui.palette import css
from workbench.ui.views import Empty, Framed

Image = NDArray[np.uint8]
_JUDGING: Final = "Comparing predictions with the annotation"
_LEGEND: Final = (("right", RIGHT), ("wrong", WRONG), ("void, not judged", VOID))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ErrorView:
    """The pictures of one image for one or two networks."""

    position: gr.Slider
    facts: str
    title_a: str
    prediction_a: Image
    errors_a: Image
    side_b: gr.Column
    title_b: str
    prediction_b: Image | None
    errors_b: Image | None
    truth: Image
    confusions: str


def error_view(services: Services, session: SessionState) -> Framed[ControlsView, ErrorView]:
    """Return the page for a session: its controls first, so that they stay usable."""
    return Framed(controls_view(services, session), lambda: _content(services, session))


def _content(services: Services, session: SessionState) -> ErrorView | Empty:
    a, b = sides(services, session)
    if a is None:
        return _nothing_yet(services, session)
    waiting = still_judging(services, session)
    if waiting is not None:
        return Empty(_judging(waiting))
    choice, names = looked_at(services, session), ordered(services, session)
    place = min(choice.position, len(names) - 1)
    found = services.evaluations.predictions(a)
    name = names[place]
    both = [found]
    prediction_b = errors_b = None
    if b is not None:
        both.append(services.evaluations.predictions(b))
        prediction_b, errors_b = _pictures(both[1], name, choice)
    prediction_a, errors_a = _pictures(found, name, choice)
    of_pixels = [one for one in both if isinstance(one, SemanticSet)]
    classes = semantic.legend(of_pixels, name, thing=choice.thing) if of_pixels else ""
    return ErrorView(
        position=gr.Slider(
            minimum=1, maximum=max(len(names), 2), value=place + 1, interactive=len(names) > 1
        ),
        facts=_facts(found, name, place, names, choice) + classes,
        title_a=_title("A", services, a, b, name, choice),
        prediction_a=prediction_a,
        errors_a=errors_a,
        side_b=gr.Column(visible=b is not None),
        title_b="" if b is None else _title("B", services, b, a, name, choice),
        prediction_b=prediction_b,
        errors_b=errors_b,
        truth=_truth(found, name, choice),
        confusions=_confusions(services, [a, *([] if b is None else [b])], name, choice),
    )


def _confusions(services: Services, which: Sequence[Evaluated], name: str, choice: LookedAt) -> str:
    """Return what is taken for what, of semantic maps; of instances nothing."""
    parts: list[str] = []
    for side, one in zip("AB", which, strict=False):
        found = services.evaluations.predictions(one)
        if isinstance(found, SemanticSet):
            index = services.evaluations.index(one, choice.score_threshold)
            title = f"{side}, {one.run}, {one.network} at step {one.step:,}"
            data = f"{found.dataset.name} {found.dataset.split}"
            parts.append(confusions(index, name, side=title, data=data, thing=choice.thing))
    return "".join(parts)


def _pictures(
    found: PredictionSet | SemanticSet, name: str, choice: LookedAt
) -> tuple[Image, Image]:
    if name not in (found.maps.names if isinstance(found, SemanticSet) else found.images):
        raise UserError(
            f"predictions must cover image {name!r}, got none of it for one side. "
            "Choose another step, or order the images by 'worse than B'."
        )
    if isinstance(found, SemanticSet):
        return semantic.pictures(found, name, thing=choice.thing)
    image = found.image(name)
    prediction = found.images[name]
    shown = [
        DrawnDetection(d.pixels(), d.label, d.score)
        for d in prediction.detections
        if d.score > choice.score_threshold and d.label >= 0 and choice.thing in (None, d.label)
    ]
    painted = predicted_classes(
        prediction.detections, prediction.size, score_threshold=choice.score_threshold
    )
    truth = true_classes(found.read_truth(name))
    codes = error_map(painted, truth, thing=choice.thing)
    pictures = draw_detections(image, shown, names=found.classes.names)
    return pictures, error_overlay(image, codes)


def _truth(found: PredictionSet | SemanticSet, name: str, choice: LookedAt) -> Image:
    if isinstance(found, SemanticSet):
        return semantic.truth(found, name, thing=choice.thing)
    labels = found.read_labels(name)
    wanted = labels.labels
    if choice.thing is not None:
        wanted = np.where(wanted == choice.thing, wanted, -1)
    return overlay_instances(found.image(name), labels.ids, wanted, names=found.classes.names)


def _facts(
    found: PredictionSet | SemanticSet,
    name: str,
    place: int,
    names: Sequence[str],
    choice: LookedAt,
) -> str:
    data = found.dataset
    threshold = "" if isinstance(found, SemanticSet) else f"{choice.score_threshold:g}"
    return markup.facts(
        [
            ("image", name),
            ("place", f"{place + 1} of {len(names)}, {choice.order} first"),
            ("image list", choice.images or ""),
            ("class", _class_text(found, choice.thing)),
            ("score threshold", threshold),
            ("data", f"{data.name} {data.split} ({data.root})"),
        ]
    ) + markup.legend([(name, css(ERROR_COLORS[code])) for name, code in _LEGEND])


def _class_text(found: PredictionSet | SemanticSet, thing: int | None) -> str:
    if isinstance(found, SemanticSet):
        return ALL if thing is None else ERROR_CLASSES[thing]
    if thing is not None:
        own = thing in found.things
        return found.classes.names[thing] + ("" if own else " (not learned by this group)")
    own_names = [found.classes.names[k] for k in sorted(found.things)]
    return ALL if found.learns_all else f"all of this group ({', '.join(own_names)})"


def _title(
    side: str,
    services: Services,
    which: Evaluated,
    other: Evaluated | None,
    name: str,
    choice: LookedAt,
) -> str:
    index = services.evaluations.index(which, choice.score_threshold)
    numbers = ""
    if name in index.sample_ids:
        error = index.errors(choice.thing)[index.sample_ids.index(name)]
        kinds = (
            f" ({error.false_positive_pixels:,} invented, {error.false_negative_pixels:,} missed)"
        )
        if choice.thing is None and services.runs.task(which.run).predictions_kind == "label maps":
            kinds = ""  # every pixel has a class, so what is missed by one is invented by another
        numbers = f"{error.wrong_pixels:,} px wrong{kinds}, {error.right_pixels:,} right"
    run, group = split_name(which.run)
    learned = group or (ALL_GROUPS if services.runs.groups(run) else "")
    return markup.facts(
        [
            (side, run),
            ("category group", group_text(learned)),
            ("network", which.network),
            ("step", f"{which.step:,}"),
            ("this image", numbers),
            _score(services, which, other, choice.thing),
        ]
    )


def _score(
    services: Services, which: Evaluated, other: Evaluated | None, thing: int | None
) -> tuple[str, str]:
    """Return the headline measure of what is looked at, beside which images it was taken over.

    With another network beside it, over the images of both.
    """
    record, images = services.evaluations.record(which.run, which.step), "evaluated images"
    if other is not None:
        both = services.evaluations.comparable(which, other)
        if both is None:
            return "all evaluated images", "not compared: the two share no judged image"
        if both[0] != record:
            images = "images of both"
        record = both[0]
    task = services.runs.task(which.run)
    name = None if thing is None else classes_of(task)[thing]
    measure = (task.measures if name is None else task.class_measures)[0]
    protocol = task.protocols[0]
    value = record.value(which.network, protocol, measure, name) if record else None
    if record is None or value is None:
        return images, ""
    how = f"{record.said(which.network, protocol)}; config {record.config_hash or '?'}"
    return images, f"{measure} {100 * value:.1f} ({how})"


def is_judging(notice: str) -> bool:
    """Return whether a page's notice says that it waits for `EvaluationStore.judged`."""
    return _JUDGING in notice


def _judging(waiting: Progress) -> str:
    text = "Waits until the images of another page are compared."
    if waiting.what:
        text = f"{waiting.what}: reading what was predicted"
        if waiting.total:
            text = f"{waiting.what}: {waiting.done:,} of {waiting.total:,} images"
        text += ". The worst come first, so all are looked at once."
    return markup.empty(_JUDGING, text)


def _nothing_yet(services: Services, session: SessionState) -> Empty:
    if session.run is None:
        return Empty(
            markup.empty("No run yet", "Start one on the Train page; it is evaluated at its end.")
        )
    if not services.runs.has(session.run):
        return Empty(markup.gone(session.run))
    task = services.runs.task(session.run)
    if task.predictions_kind is None:
        what = f"No error maps of {task.name}"
        return Empty(
            markup.empty(
                what, "Its scores are on the Train page; its predictions are not drawn here."
            )
        )
    if services.runs.groups(session.run):
        return _nothing_of_group_yet(services, session.run, session.errors.group)
    status = services.runs.status(session.run)
    text = (
        "It is evaluated at the end of a stage; evaluation.every asks for more."
        if status.live
        else f"Evaluate its checkpoint with: uda4inst evaluate {services.runs.root / session.run}"
    )
    return Empty(markup.empty(f"No evaluation of {session.run} yet", text))


def _nothing_of_group_yet(services: Services, run: str, group: str | None) -> Empty:
    if group is not None:
        text = "It is evaluated at the end of a stage. Choose another category group above."
        return Empty(markup.empty(f"No evaluation of {group_text(group)} yet", text))
    if any(services.evaluations.steps(module_of(run, g)) for g in services.runs.groups(run)):
        text = (
            "What the groups find is merged when the last of them is finished. Until then choose "
            "a category group above to see it alone."
        )
    else:
        text = "Each group is evaluated at the end of a stage, and all together at the end."
    return Empty(markup.empty(f"No evaluation of all groups of {run} yet", text))
