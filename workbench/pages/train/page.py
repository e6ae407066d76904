"""Train: start a run and see how it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gradio as gr
from gradio.events import Dependency

from uda4inst.errors import UserError
from workbench.jobs.trainers import Request
from workbench.pages.train import new_run
from workbench.pages.train.components import (
    NewRun,
    RunSlots,
    TurnButtons,
    build_monitor,
    build_new_run,
    build_table,
)
from workbench.pages.train.view import (
    LATEST,
    TableView,
    TrainView,
    checkpoint_choice,
    tick,
    view,
)
from workbench.services import Services
from workbench.session import SessionState
from workbench.ui import markup
from workbench.ui.edge import Event, Mounted, on_action
from workbench.ui.views import Frame, Updates

TITLE = "Train"
QUESTION = "How is training going, and what should run next?"
TICK_SECONDS = 2.0
_NAME_LETTERS = 255


def request(services: Services, session: SessionState, what: Request) -> None:
    """Send a request to the chosen run."""
    services.jobs.request(_chosen(session), what)


def restart(
    services: Services, session: SessionState, checkpoint: int | str | None
) -> SessionState:
    """Continue the chosen run from its latest checkpoint, or a copy of it from an earlier one."""
    step = None if checkpoint is None or checkpoint == LATEST else int(checkpoint)
    name = services.jobs.resume(_chosen(session), step=step)
    return session.on_run(name)


def _chosen(session: SessionState) -> str:
    if session.run is None:
        raise UserError("a run must be chosen first, got none. Start one, or click one's name.")
    return session.run


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events.

    Args:
        services: what it works with.
        session: what the browser looks at.
        app: the whole app, for what happens when it is opened.
    """
    gr.HTML(markup.page_header(QUESTION))
    with gr.Row():
        with gr.Column(scale=4, min_width=340, elem_classes="wb-side"):
            form = build_new_run(services)
        with gr.Column(scale=9, min_width=340):
            runs = build_table()
            notice, body = Frame.open("train")
            with body:
                monitor, turn = build_monitor()
    timer = gr.Timer(TICK_SECONDS)
    frame = Frame.of(notice, body, {TableView: runs, TrainView: monitor})
    mounted = Mounted("train", session, frame, lambda state: view(services, state), [], timer)
    mounted.on_tick(lambda state: tick(services, state))
    started = _wire_form(form, mounted, services, app)
    picked = mounted.on_choice(runs.table.pick, _pick, "pick_run")
    group_picked = mounted.on_choice(monitor.groups.pick, _pick_group, "pick_group")
    _wire_requests(monitor, mounted, services)
    _wire_queue(turn, form, mounted, services)
    restarted = _wire_restart(monitor, mounted, services)
    chosen = {
        "started": started, "restarted": restarted, "picked": picked, "group_picked": group_picked,
    }  # fmt: skip
    return replace(mounted, run_chosen=chosen)


def _wire_form(parts: NewRun, page: Mounted, services: Services, app: gr.Blocks) -> Dependency:
    form = parts.form

    def fill(state: SessionState, preset: str) -> Updates:
        values = new_run.fresh_values(services, preset)
        command = new_run.preview(services, preset, values)
        return {
            page.session: state.on_preset(preset),
            parts.head: new_run.head(preset),
            parts.command: command,
            parts.at_once: services.runs.queue().at_once,
            **form.filled(values),
        }

    def fill_if_other(state: SessionState, preset: str) -> Updates:
        return {page.session: state} if preset == state.preset else fill(state, preset)

    def preview(preset: str, head: str | None, *read: object) -> object:
        if not new_run.is_filled(head, preset):
            return gr.skip()  # what fills the form says it
        return new_run.preview(services, preset, form.values(read))

    # `input` comes with a choice by keyboard, twice after a click, and when the list is only left:
    # by itself it must not overwrite what was typed into the form.
    events: dict[str, tuple[Event, Callable[..., Updates]]] = {
        "train_fill": (app.load, fill),
        "train_pick_preset": (parts.preset.select, fill),
        "train_choose_preset": (parts.preset.input, fill_if_other),
    }
    for name, (event, handler) in events.items():
        on_action(
            event,
            handler,
            name=name,
            inputs=[page.session, parts.preset],
            outputs=[page.session, parts.head, parts.command, parts.at_once, *form.outputs],
            trigger_mode="always_last",
        )
    for name, chooser in form.choosers.items():
        on_action(
            chooser.input,
            lambda *read: form.arranged(form.values(read)),
            name=f"train_variant_of_{name.rpartition('.')[0]}",
            inputs=form.inputs,
            outputs=form.outputs,
            trigger_mode="always_last",
        )
    on_action(
        lambda handler, **options: gr.on(form.changes, handler, **options),
        preview,
        name="train_preview",
        inputs=[parts.preset, parts.head, *form.inputs],
        outputs=[parts.command],
        trigger_mode="always_last",
    )
    return _wire_start(parts, page, services)


def _wire_start(parts: NewRun, page: Mounted, services: Services) -> Dependency:
    form = parts.form
    run_name = form.controls["run.name"]

    def start(state: SessionState, preset: str, head: str | None, *read: object) -> Updates:
        values = form.values(read)
        if not new_run.is_filled(head, preset):
            values = new_run.fresh_values(services, preset)  # not those of the preset before
        name = new_run.start(services, preset, values)
        return {page.session: state.on_run(name), run_name: new_run.free_name(services, name)}

    return page.on_choice(
        parts.start.click,
        start,
        "start",
        inputs=[parts.preset, parts.head, *form.inputs],
        outputs=[run_name],
        trigger_mode="once",  # a second click is no second run; see also `Jobs.start`
    )


def _wire_requests(parts: RunSlots, page: Mounted, services: Services) -> None:
    def asking(what: Request) -> Callable[[SessionState], None]:
        return lambda state: request(services, state, what)

    buttons: dict[Request, gr.Button] = {
        "pause": parts.pause,
        "resume": parts.unpause,
        "stop": parts.stop,
        "snapshot": parts.snapshot,
    }
    for what, button in buttons.items():
        asked = on_action(button.click, asking(what), name=f"train_{what}", inputs=[page.session])
        page.redraw_after(asked, what)


def _wire_queue(turn: TurnButtons, form: NewRun, page: Mounted, services: Services) -> None:
    """Bind what is asked of a run that waits, and how many may train at once."""
    jobs = services.jobs
    asked: dict[str, tuple[gr.Button, Callable[[str], None]]] = {
        "begin": (turn.begin, jobs.start_now),
        "earlier": (turn.earlier, lambda name: jobs.move(name, -1)),
        "later": (turn.later, lambda name: jobs.move(name, 1)),
        "cancel": (turn.cancel, jobs.cancel),
    }

    def asking(what: Callable[[str], None]) -> Callable[[SessionState], None]:
        return lambda state: what(_chosen(state))

    for name, (button, what) in asked.items():
        done = on_action(
            button.click,
            asking(what),
            name=f"train_{name}",
            inputs=[page.session],
            trigger_mode="multiple" if name in ("earlier", "later") else "once",
        )
        page.redraw_after(done, name)

    def set_at_once(count: float | None) -> None:
        if count is not None:  # emptied, to be typed into
            jobs.set_at_once(count)
            jobs.advance()

    changed = on_action(
        form.at_once.input,
        set_at_once,
        name="train_at_once",
        inputs=[form.at_once],
        trigger_mode="always_last",
    )
    page.redraw_after(changed, "at_once")


def _wire_restart(parts: RunSlots, page: Mounted, services: Services) -> Dependency:
    on_action(
        parts.checkpoint.focus,
        lambda state, chosen: checkpoint_choice(services, state, chosen),
        name="train_list_checkpoints",
        inputs=[page.session, parts.checkpoint],
        outputs=[parts.checkpoint],
    )
    return page.on_choice(
        parts.restart.click,
        lambda state, step: restart(services, state, step),
        "restart",
        inputs=[parts.checkpoint],
        trigger_mode="once",
    )


def _pick(state: SessionState, event: gr.EventData) -> SessionState:
    return state.on_run(_named(event, "run"))


def _pick_group(state: SessionState, event: gr.EventData) -> SessionState:
    return state.on_group(_named(event, "group"))


def _named(event: gr.EventData, what: str) -> str:
    """Return the name that a click was on."""
    name = getattr(event, what, None)
    if not isinstance(name, str) or len(name) > _NAME_LETTERS:
        raise UserError(f"{what} must be a name, got {type(name).__name__}. Reload the page.")
    return name
