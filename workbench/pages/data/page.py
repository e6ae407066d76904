"""Data: the images training reads, their labels, and what is wrong with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import gradio as gr
from gradio.components import Component

from uda4inst.data.config import DatasetRef
from uda4inst.data.readers import DATASETS
from uda4inst.errors import UserError
from workbench.fiftyone_bar import build_head, wire_button
from workbench.pages.data.components import (
    CheckSlot,
    DataSlots,
    HeadSlots,
    ImageSlot,
    TreeSlot,
    build_checks,
    build_colors,
    build_image,
    build_looks,
    build_tree,
)
from workbench.pages.data.inspection import inspected
from workbench.pages.data.view import ChecksView, DataView, HeadView, OnScreen, data_tick, data_view
from workbench.services import Services
from workbench.session import Overlay, SessionState, TreeChoice
from workbench.stores.data_sets import SIDES, Side, labels_wanted
from workbench.ui.edge import Event, Mounted
from workbench.ui.inputs import within
from workbench.ui.views import Frame, Unchanged, Updates

TITLE = "Data"
QUESTION = "What is in the data, and is it sound?"
HINT = (
    "Begins with the data of the run chosen above. Training opens the source's labels and never "
    "the target's."
)
TICK_SECONDS = 2.0
READING: Final = '<div class="wb-reading">reading the data …</div>'


@dataclass(frozen=True, slots=True)
class _Choices:
    """Binds choices, and says that their data are being read until the page is drawn."""

    page: Mounted
    busy: gr.HTML

    def bind(
        self,
        event: Event,
        choose: Callable[..., SessionState],
        name: str,
        *,
        inputs: Sequence[Component] = (),
    ) -> None:
        """Bind a choice; see `Mounted.on_choice`."""

        def begin(*values: object) -> Updates:
            return {self.page.session: choose(*values), self.busy: READING}

        self.page.on_choice(event, begin, name, inputs=inputs, outputs=[self.busy])


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    bar = build_head("data", QUESTION, HINT)
    busy = gr.HTML(READING, elem_id="data-busy")
    with gr.Row():
        source, source_notice = build_tree("source")
        target, target_notice = build_tree("target")
    overlay, labels = build_looks()
    with gr.Row():
        source_image = build_image("source", source_notice)
        target_image = build_image("target", target_notice)
    legend = gr.HTML(elem_id="data-legend")
    notice, below = Frame.open("data")
    with below:
        body = DataSlots(
            source=source_image,
            target=target_image,
            legend=legend,
            progress=build_checks(),
            colors=build_colors(),
        )
    head = HeadSlots(
        source=source,
        target=target,
        overlay=overlay,
        target_labels=labels,
        busy=busy,
        fiftyone=bar,
    )
    frame = Frame.of(notice, below, {HeadView: head, DataView: body, ChecksView: body.progress})
    timer = gr.Timer(TICK_SECONDS, active=False)
    mounted = Mounted("data", session, frame, lambda state: data_view(services, state), [], timer)
    _wire_timer(mounted, body, services)
    wire_button(bar, services, mounted, inspected)
    choices = _Choices(mounted, busy)
    _wire_looks(overlay, labels, choices)
    for side in SIDES:
        _wire_tree(side, head.tree(side), choices, services)
        _wire_position(side, body.image(side), choices, services)
        _wire_check(side, body.progress.check(side), choices, services)
    return mounted


def _wire_timer(page: Mounted, body: DataSlots, services: Services) -> None:
    def tick(
        state: SessionState, source_report: str, target_report: str, shares: str
    ) -> ChecksView | Unchanged:
        shown = OnScreen(source_report=source_report, target_report=target_report, shares=shares)
        return data_tick(services, state, shown)

    checks = body.progress
    page.on_tick(tick, inputs=[checks.source.report, checks.target.report, checks.shares])


def _wire_looks(overlay: gr.Radio, labels: gr.Checkbox, choices: _Choices) -> None:
    def draw_over(state: SessionState, value: Overlay) -> SessionState:
        return state.on_data(overlay=value)

    def open_labels(state: SessionState, value: bool) -> SessionState:
        return state.on_data(target_labels=bool(value))

    choices.bind(overlay.input, draw_over, "overlay", inputs=[overlay])
    choices.bind(labels.input, open_labels, "target_labels", inputs=[labels])


def _wire_tree(side: Side, tree: TreeSlot, choices: _Choices, services: Services) -> None:
    def choose(state: SessionState, format_name: str, root: str, split: str) -> SessionState:
        choice = TreeChoice(format_name, root or "", split or "")
        return choose_tree(services, state, side, choice)

    def other_format(state: SessionState, format_name: str, root: str) -> SessionState:
        if format_name == services.data_sets.chosen(state, side).format:
            return state  # the list was left without a choice
        return choose(state, format_name, root, DATASETS[format_name].default_split)

    for name, event in (
        ("split", tree.split.input),
        ("root", tree.root.submit),
        ("root_left", tree.root.blur),
    ):
        inputs = [tree.format, tree.root, tree.split]
        choices.bind(event, choose, f"{side}_{name}", inputs=inputs)
    choices.bind(tree.format.input, other_format, f"{side}_format", inputs=[tree.format, tree.root])


def choose_tree(
    services: Services, state: SessionState, side: Side, choice: TreeChoice
) -> SessionState:
    """Return the session on other images; the same ones stay where they are."""
    current = services.data_sets.chosen(state, side)
    return state if choice == current else state.on_data(**{side: choice})


def _wire_position(side: Side, slot: ImageSlot, choices: _Choices, services: Services) -> None:
    def moved(direction: int) -> Callable[[SessionState], SessionState]:
        return lambda state: move(services, state, side, direction)

    choices.bind(slot.previous.click, moved(-1), f"{side}_previous")
    choices.bind(slot.following.click, moved(1), f"{side}_next")
    choices.bind(
        slot.chance.click, lambda state: pick_random(services, state, side), f"{side}_random"
    )
    choices.bind(
        slot.position.input,
        lambda state, place: at_place(services, state, side, place),
        f"{side}_position",
        inputs=[slot.position],
    )


def at_place(services: Services, state: SessionState, side: Side, place: float) -> SessionState:
    """Return the session on an image by its place, from 1, as it was typed; the last if beyond."""
    last = max(_count(services, state, side), 1)
    return _at(state, side, int(within(place, (1, last))) - 1)


def move(services: Services, state: SessionState, side: Side, direction: int) -> SessionState:
    """Return the session one image further, or back."""
    last = max(_count(services, state, side), 1)
    shown = min(_place(state, side) + 1, last)
    return at_place(services, state, side, shown + direction)


def pick_random(services: Services, state: SessionState, side: Side) -> SessionState:
    """Return the session on another image, any one."""
    others = [i for i in range(_count(services, state, side)) if i != _place(state, side)]
    return _at(state, side, random.choice(others)) if others else state


def _place(state: SessionState, side: Side) -> int:
    return state.data.source_position if side == "source" else state.data.target_position


def _at(state: SessionState, side: Side, place: int) -> SessionState:
    return state.on_data(**{f"{side}_position": place})


def _count(services: Services, state: SessionState, side: Side) -> int:
    ref = services.data_sets.ref(state, side)
    if ref is None:
        return 0
    return len(services.data_sets.open(ref, side, labels=labels_wanted(state, side)))


def _wire_check(side: Side, check: CheckSlot, choices: _Choices, services: Services) -> None:
    def asking(what: Callable[[DatasetRef], None]) -> Callable[[SessionState], SessionState]:
        return lambda state: ask(services, state, side, what)

    choices.bind(check.start.click, asking(services.checks.start), f"{side}_check")
    choices.bind(check.stop.click, asking(services.checks.stop), f"{side}_stop")


def ask(
    services: Services, state: SessionState, side: Side, what: Callable[[DatasetRef], None]
) -> SessionState:
    """Ask something of the check of a side's images."""
    ref = services.data_sets.ref(state, side)
    if ref is None:
        raise UserError(f"a {side} must be named to be checked, got none. Name its folder.")
    what(ref)
    return state
