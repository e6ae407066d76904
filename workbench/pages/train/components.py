"""The components of the Train page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import gradio as gr

from workbench.jobs.queue import MOST_AT_ONCE
from workbench.pages.train import new_run
from workbench.pages.train.run_form import RunForm, build_form
from workbench.pages.train.view import LATEST
from workbench.services import Services

DEFAULT_PRESET: Final = "toystreets_demo"
# The table may be drawn anew while a button of it is held down; then there is no click.
_PICK_RUN: Final = """
let pressed = null;
element.addEventListener('mousedown', event => {
  pressed = event.target.closest('[data-run]');
});
element.addEventListener('mouseup', () => {
  if (pressed && !pressed.isConnected) trigger('pick', {run: pressed.dataset.run});
  pressed = null;
});
element.addEventListener('click', event => {
  const row = event.target.closest('[data-run]');
  if (row) trigger('pick', {run: row.dataset.run});
});
"""
_PICK_GROUP: Final = _PICK_RUN.replace("run", "group")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What starts a run."""

    head: gr.HTML
    preset: gr.Dropdown
    form: RunForm
    command: gr.HTML
    start: gr.Button
    at_once: gr.Number


@dataclass(frozen=True, slots=True)
class TableSlot:
    """All runs."""

    table: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSlots:
    """The chosen run."""

    card: gr.HTML
    groups: gr.HTML
    turn: gr.Row
    actions: gr.Row
    pause: gr.Button
    unpause: gr.Button
    stop: gr.Button
    snapshot: gr.Button
    checkpoint: gr.Dropdown
    restart: gr.Button
    head: gr.HTML
    figures: gr.HTML
    curves: gr.HTML
    log: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnButtons:
    """What is asked of a run that waits in the queue."""

    begin: gr.Button
    earlier: gr.Button
    later: gr.Button
    cancel: gr.Button


def build_new_run(services: Services) -> NewRun:
    """Create what starts a run."""
    names = services.presets.names
    first = DEFAULT_PRESET if DEFAULT_PRESET in names else names[0]
    head = gr.HTML(new_run.head(""))
    preset = gr.Dropdown(names, value=first, label="Preset", elem_id="train-preset")
    form = build_form(services.presets.fields, services.presets.resolved(first))
    command = gr.HTML(elem_id="train-command")
    with gr.Row(elem_classes="wb-start"):
        start = gr.Button(
            "Start training", variant="primary", elem_id="train-start", scale=3, min_width=150
        )
        at_once = gr.Number(
            services.runs.queue().at_once,
            label="at once",
            precision=0,
            minimum=1,
            maximum=MOST_AT_ONCE,
            elem_id="train-at-once",
            scale=1,
            min_width=90,
        )
    return NewRun(
        head=head, preset=preset, form=form, command=command, start=start, at_once=at_once
    )


def build_table() -> TableSlot:
    """Create the table of all runs."""
    return TableSlot(gr.HTML(elem_id="train-runs", elem_classes="wb-lines", js_on_load=_PICK_RUN))


def build_monitor() -> tuple[RunSlots, TurnButtons]:
    """Create what shows the chosen run, what asks something of it, and of one that waits."""
    card = gr.HTML(elem_id="train-card")
    groups = gr.HTML(elem_id="train-groups", js_on_load=_PICK_GROUP)
    with gr.Row(elem_classes="wb-actions", visible=False) as turn:
        begin = gr.Button("Start now", elem_id="train-begin", size="sm", min_width=90)
        earlier = gr.Button("Earlier", elem_id="train-earlier", size="sm", min_width=80)
        later = gr.Button("Later", elem_id="train-later", size="sm", min_width=80)
        cancel = gr.Button(
            "Cancel", variant="stop", elem_id="train-cancel", size="sm", min_width=80
        )
    with gr.Row(elem_classes="wb-actions") as actions:
        pause = gr.Button("Pause", elem_id="train-pause", size="sm", min_width=70)
        unpause = gr.Button("Resume", elem_id="train-resume", size="sm", min_width=70)
        stop = gr.Button("Stop", variant="stop", elem_id="train-stop", size="sm", min_width=70)
        snapshot = gr.Button("Snapshot now", elem_id="train-snapshot", size="sm", min_width=110)
        checkpoint = gr.Dropdown(
            [LATEST],
            value=LATEST,
            show_label=False,
            container=False,
            elem_id="train-checkpoint",
            min_width=130,
        )
        restart = gr.Button(
            "Restart from checkpoint", elem_id="train-restart", size="sm", min_width=170
        )
    head = gr.HTML(elem_id="train-group")
    figures = gr.HTML(elem_id="train-figures")
    curves = gr.HTML(elem_id="train-curves")
    with gr.Accordion("Log", open=True):
        log = gr.HTML(elem_id="train-log", autoscroll=True, max_height=280)
    slots = RunSlots(
        card=card,
        groups=groups,
        turn=turn,
        actions=actions,
        pause=pause,
        unpause=unpause,
        stop=stop,
        snapshot=snapshot,
        checkpoint=checkpoint,
        restart=restart,
        head=head,
        figures=figures,
        curves=curves,
        log=log,
    )
    return slots, TurnButtons(begin=begin, earlier=earlier, later=later, cancel=cancel)
