"""Error maps: where predictions on target images are right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from uda4inst.classes import THING_NAMES
from uda4inst.evaluation.semantic_errors import ERROR_CLASSES
from workbench.pages.error_maps.view import ALL, ALL_GROUPS, NO_RUN, error_view, ordered, sides
from workbench.services import Services
from workbench.session import ErrorChoice, SessionState
from workbench.ui import markup
from workbench.ui.edge import UNCHANGED, Mounted, Page

TITLE = "Error maps"
QUESTION = "Where are the predictions right, and where wrong?"
HINT = (
    "Evaluated predictions on the validation images, as in the paper's Fig. 5. A is the run chosen "
    "above; B may be another run, step or network."
)
TICK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Controls:
    """What is looked at."""

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
    previous: gr.Button
    position: gr.Slider
    following: gr.Button

    @property
    def head(self) -> list[Any]:
        """What a redraw sets."""
        return [
            self.row,
            self.group,
            self.step,
            self.network,
            self.other_run,
            self.other_step,
            self.other_network,
            self.order,
            self.thing,
            self.threshold,
        ]


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    gr.HTML(markup.page_header(QUESTION, HINT))
    with gr.Row(visible=False) as row, gr.Column():
        sides_row = _build_sides()
        with gr.Row(equal_height=True, elem_classes="wb-bar"):
            looks = _build_looks()
            places = _build_position()
    notice, body = Page.frame("error-maps")
    with body:
        parts = [places["position"], *_build_pictures()]
    controls = _Controls(row=row, **sides_row, **looks, **places)
    timer = gr.Timer(TICK_SECONDS, active=False)
    page = Page(notice, body, parts, head=controls.head)

    def show(state: SessionState) -> object:
        return error_view(services, state)

    def tick(state: SessionState, shown: int | None) -> object:
        # What is on screen changes by itself only when a newer evaluation is followed.
        newest, _ = sides(services, state)
        if newest is not None and newest.step == shown:
            return UNCHANGED
        return error_view(services, state)

    mounted = Mounted("error_maps", session, page, show, [], timer)
    mounted.on_tick(tick, inputs=[controls.step])
    _wire_choices(controls, mounted)
    _wire_position(controls, mounted, services)
    return mounted


def _build_sides() -> dict[str, Any]:
    with gr.Row(equal_height=True, elem_classes="wb-bar"):
        group = gr.Dropdown(
            [ALL_GROUPS],
            value=ALL_GROUPS,
            label="A: category group",
            elem_id="error-maps-group",
            min_width=300,
            visible=False,
        )
        step = gr.Dropdown([], label="A: evaluation", elem_id="error-maps-step", min_width=150)
        network = gr.Radio([], label="A: network", elem_id="error-maps-network", min_width=210)
        run = gr.Dropdown(
            [NO_RUN],
            value=NO_RUN,
            label="B: compare with run",
            elem_id="error-maps-other-run",
            min_width=200,
        )
        other_step = gr.Dropdown(
            [],
            label="B: evaluation",
            elem_id="error-maps-other-step",
            min_width=150,
            visible=False,
        )
        other_network = gr.Radio(
            [],
            label="B: network",
            elem_id="error-maps-other-network",
            min_width=210,
            visible=False,
        )
    return {
        "group": group,
        "step": step,
        "network": network,
        "other_run": run,
        "other_step": other_step,
        "other_network": other_network,
    }


def _build_looks() -> dict[str, Any]:
    order = gr.Dropdown(
        ["worst"], value="worst", label="Image order", elem_id="error-maps-order", min_width=150
    )
    thing = gr.Dropdown(
        [ALL, *THING_NAMES], value=ALL, label="Class", elem_id="error-maps-class", min_width=150
    )
    threshold = gr.Slider(
        0.0,
        0.99,
        value=ErrorChoice().score_threshold,
        step=0.01,
        label="Score threshold",
        elem_id="error-maps-threshold",
        min_width=200,
        scale=2,
        buttons=[],
    )
    return {"order": order, "thing": thing, "threshold": threshold}


def _build_position() -> dict[str, Any]:
    previous = gr.Button("◀", elem_id="error-maps-previous", min_width=44, scale=0)
    position = gr.Slider(
        1,
        2,
        value=1,
        step=1,
        label="Image, worst first",
        elem_id="error-maps-position",
        min_width=200,
        scale=3,
        buttons=[],
    )
    following = gr.Button("▶", elem_id="error-maps-next", min_width=44, scale=0)
    return {"previous": previous, "position": position, "following": following}


def _build_pictures() -> list[Any]:
    facts = gr.HTML(elem_id="error-maps-facts")
    title_a = gr.HTML(elem_id="error-maps-title-a")
    with gr.Row():
        pictures_a = [_picture("A: prediction", "prediction-a"), _picture("A: errors", "errors-a")]
    with gr.Column(visible=False) as side_b:
        title_b = gr.HTML(elem_id="error-maps-title-b")
        with gr.Row():
            pictures_b = [
                _picture("B: prediction", "prediction-b"),
                _picture("B: errors", "errors-b"),
            ]
    with gr.Row():
        truth = _picture("Ground truth", "truth")
        gr.HTML(min_width=320, elem_classes="wb-spacer")
    return [facts, title_a, *pictures_a, side_b, title_b, *pictures_b, truth]


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        elem_id=f"error-maps-{name}",
        interactive=False,
        format="png",
        buttons=["fullscreen", "download"],
        elem_classes="wb-picture",
        min_width=320,
    )


def _wire_choices(controls: _Controls, page: Mounted) -> None:
    def change(key: str, read: Callable[[Any], Any]) -> Callable[..., SessionState]:
        return lambda state, value: state.on_errors(**{key: read(value)})

    def same(value: Any) -> Any:
        return value

    def other_run(state: SessionState, run: str) -> SessionState:
        return state.on_errors(
            other_run=None if run == NO_RUN else run, other_step=None, other_network=None
        )

    def group(state: SessionState, name: str) -> SessionState:
        return state.on_errors(group=None if name == ALL_GROUPS else name)

    def thing(name: str) -> int | None:
        return None if name == ALL else ERROR_CLASSES.index(name)

    for key, control, handler in (
        ("group", controls.group, group),
        ("step", controls.step, change("step", int)),
        ("network", controls.network, change("network", same)),
        ("other_run", controls.other_run, other_run),
        ("other_step", controls.other_step, change("other_step", int)),
        ("other_network", controls.other_network, change("other_network", same)),
        ("order", controls.order, change("order", same)),
        ("class", controls.thing, change("thing", thing)),
        ("threshold", controls.threshold, change("score_threshold", float)),
        ("position", controls.position, _to_position),
    ):
        page.on_choice(control.input, handler, key, inputs=[control])


def _wire_position(controls: _Controls, page: Mounted, services: Services) -> None:
    def moved(direction: int) -> Callable[[SessionState], SessionState]:
        return lambda state: _move(services, state, direction)

    page.on_choice(controls.previous.click, moved(-1), "previous")
    page.on_choice(controls.following.click, moved(1), "next")


def _to_position(state: SessionState, place: float) -> SessionState:
    return state.on_errors(position=int(place) - 1)


def _move(services: Services, state: SessionState, direction: int) -> SessionState:
    last = max(len(ordered(services, state)) - 1, 0)
    place = min(max(min(state.errors.position, last) + direction, 0), last)
    return state.on_errors(position=place)
