"""Error maps: where predictions on target images are right and wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import gradio as gr

from workbench.fiftyone_bar import build_head, wire_button
from workbench.pages.error_maps.choice import ordered, sides, still_judging
from workbench.pages.error_maps.components import ControlSlots, build_controls, build_pictures
from workbench.pages.error_maps.controls import (
    ALL,
    ALL_GROUPS,
    ALL_IMAGES,
    NO_RUN,
    ControlsView,
    list_choices,
)
from workbench.pages.error_maps.inspection import inspected
from workbench.pages.error_maps.view import ErrorView, error_view, is_judging
from workbench.services import Services
from workbench.session import SHOWN_SCORES, SessionState
from workbench.ui.edge import Mounted, on_action
from workbench.ui.inputs import within
from workbench.ui.views import UNCHANGED, Empty, Frame, Framed, Unchanged

TITLE = "Error maps"
QUESTION = "Where are the predictions right, and where wrong?"
HINT = (
    "Evaluated predictions on the validation images, as in the paper's Fig. 5. A is the run chosen "
    "above; B may be another run, step or network."
)
TICK_SECONDS = 3.0


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    bar = build_head("error_maps", QUESTION, HINT)
    controls = build_controls(bar)
    notice, body = Frame.open("error-maps")
    with body:
        pictures = build_pictures(controls.position)
    timer = gr.Timer(TICK_SECONDS, active=False)
    frame = Frame.of(notice, body, {ControlsView: controls, ErrorView: pictures})

    def show(state: SessionState) -> Framed[ControlsView, ErrorView]:
        return error_view(services, state)

    mounted = Mounted("error_maps", session, frame, show, [], timer)
    mounted.on_tick(
        lambda state, *shown: error_tick(services, state, *shown),
        inputs=[controls.step, controls.other_step, notice],
    )
    wire_button(bar, services, mounted, inspected)
    _wire_choices(controls, mounted, services)
    _wire_position(controls, mounted, services)
    return mounted


def at_place(services: Services, state: SessionState, place: float) -> SessionState:
    """Return the session on an image by its place, from 1, as it was typed; the last if beyond."""
    known = still_judging(services, state) is None
    last = max(len(ordered(services, state)), 1) if known else math.inf
    return state.on_errors(position=int(within(place, (1, last))) - 1)


def error_tick(
    services: Services,
    state: SessionState,
    shown: float | None,
    other_shown: float | None,
    says: str | None,
) -> Framed[ControlsView, ErrorView] | ErrorView | Empty | Unchanged:
    """Return what time has changed: a newer evaluation is followed, what was waited for is there.

    Args:
        services: what the page works with.
        state: what the browser looks at.
        shown: step of A on screen.
        other_shown: step of B on screen; counts only where there is one.
        says: the page's notice.
    """
    a, b = sides(services, state)
    if a is None or a.step != shown or (b is not None and b.step != other_shown):
        return error_view(services, state)
    return error_view(services, state).content() if is_judging(says or "") else UNCHANGED


def _wire_choices(controls: ControlSlots, page: Mounted, services: Services) -> None:
    def step(state: SessionState, step: float) -> SessionState:
        a, _ = sides(services, state)
        return state if a is not None and a.step == step else state.on_errors(step=int(step))

    def other_step(state: SessionState, step: float) -> SessionState:
        _, b = sides(services, state)
        return state if b is not None and b.step == step else state.on_errors(other_step=int(step))

    def other_run(state: SessionState, run: str) -> SessionState:
        other = None if run == NO_RUN else run
        if other == state.errors.other_run:
            return state  # the list was left without a choice
        return state.on_errors(other_run=other, other_step=None, other_network=None)

    for key, control, choose in (
        ("group", controls.group, lambda s, v: s.on_errors(group=None if v == ALL_GROUPS else v)),
        ("step", controls.step, step),
        ("network", controls.network, lambda s, v: s.on_errors(network=v)),
        ("other_run", controls.other_run, other_run),
        ("other_step", controls.other_step, other_step),
        ("other_network", controls.other_network, lambda s, v: s.on_errors(other_network=v)),
        ("order", controls.order, lambda s, v: s.on_errors(order=v)),
        ("class", controls.thing, lambda s, v: s.on_errors(class_name=None if v == ALL else v)),
        ("images", controls.images, lambda s, v: s.on_errors(images=_images(v))),
        (
            "threshold",
            controls.threshold,
            lambda s, v: s.on_errors(score_threshold=within(v, SHOWN_SCORES)),
        ),
        ("position", controls.position, lambda s, v: at_place(services, s, v)),
    ):
        page.on_choice(control.input, choose, key, inputs=[control])
    # Lists are written while the page is on screen; what is chosen or half typed stays.
    on_action(
        controls.images.focus,
        lambda: gr.Dropdown(choices=list_choices()),
        name=f"{page.name}_list_images",
        outputs=[controls.images],
    )


def _images(written: str | None) -> str | None:
    """Return the image list that was written, or None for all images."""
    name = (written or "").strip()
    return None if name in ("", ALL_IMAGES) else name


def _wire_position(controls: ControlSlots, page: Mounted, services: Services) -> None:
    def moved(direction: int) -> Callable[[SessionState], SessionState]:
        return lambda state: _move(services, state, direction)

    page.on_choice(controls.previous.click, moved(-1), "previous")
    page.on_choice(controls.following.click, moved(1), "next")


def _move(services: Services, state: SessionState, direction: int) -> SessionState:
    if still_judging(services, state) is not None:
        return state  # nobody knows yet which image is the next
    last = max(len(ordered(services, state)) - 1, 0)
    place = min(max(min(state.errors.position, last) + direction, 0), last)
    return state.on_errors(position=place)
