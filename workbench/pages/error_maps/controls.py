"""The controls of the Error maps page, set to what is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import gradio as gr

from uda4inst.evaluation.semantic_errors import ERROR_CLASSES
from workbench.fiftyone_bar import FiftyOneView, bar_view
from workbench.pages.error_maps.choice import class_names, sides
from workbench.pages.error_maps.inspection import inspected
from workbench.services import Services
from workbench.session import SessionState
from workbench.sessions.installed import FOLDER, LISTS
from workbench.stores.evaluations import Evaluated
from workbench.stores.groups import group_text, module_of, shown_name

ALL: Final = "all classes"
ALL_GROUPS: Final = "all groups"
NO_RUN: Final = "none"
ALL_IMAGES: Final = "all images"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlsView:
    """The controls set to what is looked at."""

    row: gr.Row
    group: gr.Dropdown
    step: gr.Dropdown
    network: gr.Radio
    other_run: gr.Dropdown
    other_step: gr.Dropdown
    other_network: gr.Radio
    order: gr.Dropdown
    thing: gr.Dropdown
    threshold: gr.Slider
    images: gr.Dropdown
    fiftyone: FiftyOneView


def controls_view(services: Services, session: SessionState) -> ControlsView:
    """Return the controls for a session; nothing in it is so wrong that they are not there."""
    a, b = sides(services, session)
    choice = session.errors
    classes = class_names(services, session)
    groups = services.runs.groups(session.run) if session.run is not None else []
    others = [
        name
        for name in _names(services)
        if services.evaluations.steps(name)
        and (a is None or services.runs.task(name) is services.runs.task(a.run))
    ]
    return ControlsView(
        row=gr.Row(visible=a is not None or bool(groups)),
        group=gr.Dropdown(
            choices=[ALL_GROUPS, *((group_text(group), group) for group in groups)],
            value=choice.group if choice.group in groups else ALL_GROUPS,
            visible=bool(groups),
        ),
        step=_step_choice(services, a),
        network=_network_choice(services, a),
        other_run=gr.Dropdown(
            choices=[NO_RUN, *((shown_name(name), name) for name in others)],
            value=choice.other_run if choice.other_run in others else NO_RUN,
        ),
        other_step=_step_choice(services, b),
        other_network=_network_choice(services, b),
        order=gr.Dropdown(
            choices=["worst", *(["worse than B"] if b is not None else [])],
            value=choice.order if b is not None else "worst",
        ),
        thing=gr.Dropdown(
            choices=[ALL, *classes],
            value=choice.class_name if choice.class_name in classes else ALL,
        ),
        threshold=gr.Slider(value=choice.score_threshold, visible=classes != ERROR_CLASSES),
        images=gr.Dropdown(
            choices=list_choices(), value=choice.images or ALL_IMAGES, allow_custom_value=True
        ),
        fiftyone=bar_view(services, session, inspected),
    )


def _names(services: Services) -> Iterator[str]:
    """Yield the names of all runs, each followed by those of its groups' networks."""
    for run in services.runs.names():
        yield run
        yield from (module_of(run, group) for group in services.runs.groups(run))


def list_choices() -> list[str | tuple[str, str]]:
    """Return all images, then name and path of the image lists that FiftyOne has written here."""
    lists = sorted(Path(FOLDER, LISTS).glob("*.txt"))
    return [ALL_IMAGES, *((path.name, str(path)) for path in lists)]


def _step_choice(services: Services, side: Evaluated | None) -> gr.Dropdown:
    if side is None:
        return gr.Dropdown(visible=False)
    steps = reversed(services.evaluations.steps(side.run))
    choices = [(f"step {step:,}", step) for step in steps]
    return gr.Dropdown(choices=choices, value=side.step, visible=True)


def _network_choice(services: Services, side: Evaluated | None) -> gr.Radio:
    if side is None:
        return gr.Radio(visible=False)
    networks = services.evaluations.networks(side.run, side.step)
    return gr.Radio(choices=networks, value=side.network, visible=True)
