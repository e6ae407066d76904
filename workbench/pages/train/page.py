"""Train: start a run and see how it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.run_folder.status import Status
from workbench.jobs.trainers import REQUESTABLE, RESTARTABLE, Request
from workbench.pages.train import monitor, new_run
from workbench.pages.train.run_form import RunForm, build_form
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.groups import group_text
from workbench.ui import markup
from workbench.ui.edge import Empty, Framed, Mounted, Page, on_action

TITLE = "Train"
QUESTION = "How is training going, and what should run next?"
TICK_SECONDS = 2.0
DEFAULT_PRESET = "toystreets_demo"
LATEST = "latest"
_PICK_RUN = """
element.addEventListener('click', event => {
  const row = event.target.closest('[data-run]');
  if (row) trigger('pick', {run: row.dataset.run});
});
"""
_PICK_GROUP = _PICK_RUN.replace("run", "group")


@dataclass(frozen=True, slots=True)
class TrainView:
    """What the page shows of the chosen run; from `head` on of one network of it."""

    card: str
    groups: str
    pause: Any
    unpause: Any
    stop: Any
    snapshot: Any
    checkpoint: Any
    restart: Any
    head: str
    figures: str
    curves: str
    log: str


def view(services: Services, session: SessionState) -> Framed:
    """Return the run table and the chosen run, its checkpoints included."""
    return _framed(services, session, checkpoint=_checkpoint_choice(services, session))


def tick(services: Services, session: SessionState) -> Framed:
    """Return the same, leaving alone what the user may be choosing from."""
    services.jobs.reap()
    return _framed(services, session, checkpoint=_checkpoint_hidden(services, session))


def _framed(services: Services, session: SessionState, *, checkpoint: Any) -> Framed:
    table = monitor.run_table(services.runs.summaries(), chosen=session.run)
    return Framed([table], lambda: _content(services, session, checkpoint))


def _content(services: Services, session: SessionState, checkpoint: Any) -> TrainView | Empty:
    run = session.run
    if run is None or run not in services.runs.names():
        return Empty("")
    network = services.network(session) or run
    group = services.group(session)
    summary = services.runs.summary(run)
    modules = services.runs.modules(run)
    series = services.metrics.series(network)
    left = [] if summary.status.live else [m.group for m in modules if m.status.live]
    return TrainView(
        card=monitor.run_card(summary, services.jobs.pending(run)),
        groups=monitor.group_table(
            modules, chosen=group, remarks=_remarks(services, summary.name, summary.status, left)
        ),
        **_buttons(services, run, summary.status, left),
        checkpoint=checkpoint,
        head=monitor.group_head(group),
        figures=monitor.figures(services.runs.status(network), series),
        curves=monitor.curves(series, classes=services.runs.classes(network) or THING_NAMES),
        log=monitor.log_lines(services.runs.tail(network)),
    )


def _buttons(
    services: Services, run: str, status: Status, left: Sequence[str]
) -> dict[str, gr.Button]:
    """Return the buttons, on where they mean something; `left` are groups that lost their run."""
    can_restart = status.state in RESTARTABLE and services.runs.can_resume(run) and not left
    buttons = {
        field: gr.Button(
            interactive=status.state in REQUESTABLE[request] or bool(left and request == "stop")
        )
        for field, request in _REQUEST_OF_FIELD.items()
    }
    words = "Restart from the latest" if services.runs.groups(run) else "Restart from checkpoint"
    return buttons | {"restart": gr.Button(words, interactive=can_restart)}


def _remarks(services: Services, run: str, status: Status, left: Sequence[str]) -> list[str]:
    """Return what is to be known before a run of several groups is restarted."""
    if left:
        names = " and ".join(group_text(group) for group in left)
        return [f"{names}: still training without the run's own process. Stop ends that."]
    groups = services.runs.groups(run)
    if not groups or status.state not in RESTARTABLE:
        return []
    module = services.runs.dir(run).module(groups[0]).path
    return [
        "A restart goes on from the latest checkpoint of every group; finished ones stay. All "
        "groups must end at one step, so an older checkpoint is chosen for a single group, in a "
        f"terminal: uda4inst resume {module} --from STEP"
    ]


_REQUEST_OF_FIELD: dict[str, Request] = {
    "pause": "pause",
    "unpause": "resume",
    "stop": "stop",
    "snapshot": "snapshot",
}


def request(services: Services, session: SessionState, what: Request) -> None:
    """Send a request to the chosen run."""
    services.jobs.request(_chosen(session), what)


def _asking(services: Services, what: Request) -> Callable[[SessionState], None]:
    return lambda state: request(services, state, what)


def restart(services: Services, session: SessionState, checkpoint: int | str | None) -> None:
    """Continue the chosen run from the checkpoint of a step, or from the latest."""
    step = None if checkpoint in (None, LATEST) else int(checkpoint)
    services.jobs.resume(_chosen(session), step=step)


def _chosen(session: SessionState) -> str:
    if session.run is None:
        raise UserError("a run must be chosen first, got none. Start one, or click one's name.")
    return session.run


def _checkpoint_choice(services: Services, session: SessionState, value: Any = LATEST) -> Any:
    """Return the checkpoints to restart from; the latest stays right while new ones come."""
    steps = services.runs.checkpoints(session.run) if session.run is not None else []
    choices = [("latest", LATEST), *((f"step {step:,}", step) for step in reversed(steps))]
    several = bool(session.run is not None and services.runs.groups(session.run))
    return gr.Dropdown(
        choices=choices, value=value if value in steps else LATEST, visible=not several
    )


def _checkpoint_hidden(services: Services, session: SessionState) -> Any:
    """Return the choice of a checkpoint as it is, or unseen where the latest is the only one."""
    several = session.run is not None and services.runs.groups(session.run)
    return gr.Dropdown(visible=False) if several else gr.skip()


@dataclass(frozen=True, slots=True)
class _Parts:
    """Components of the page."""

    preset: gr.Dropdown
    form: RunForm
    command: gr.HTML
    start: gr.Button
    controls: dict[str, Any]


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
            preset, form, command, start_button = _build_form(services)
        with gr.Column(scale=9, min_width=340):
            table = gr.HTML(elem_id="train-runs", js_on_load=_PICK_RUN)
            page, controls = _build_monitor(table)
    timer = gr.Timer(TICK_SECONDS)
    parts = _Parts(preset, form, command, start_button, controls)
    mounted = Mounted("train", session, page, lambda state: view(services, state), [], timer)
    mounted.on_tick(lambda state: tick(services, state))
    started = _wire_form(parts, mounted, services, app)
    picked = mounted.on_choice(table.pick, _pick, "pick_run")
    group_picked = mounted.on_choice(controls["groups"].pick, _pick_group, "pick_group")
    _wire_requests(parts, mounted, services)
    _wire_restart(parts, mounted, services)
    chosen = {"started": started, "picked": picked, "group_picked": group_picked}
    return replace(mounted, run_chosen=chosen)


def _build_form(services: Services) -> tuple[gr.Dropdown, RunForm, gr.HTML, gr.Button]:
    names = services.presets.names
    first = DEFAULT_PRESET if DEFAULT_PRESET in names else names[0]
    gr.HTML("<h3>New run</h3>")
    preset = gr.Dropdown(names, value=first, label="Preset", elem_id="train-preset")
    form = build_form(services.presets.fields, services.presets.resolved(first))
    command = gr.HTML(elem_id="train-command")
    start_button = gr.Button("Start training", variant="primary", elem_id="train-start")
    return preset, form, command, start_button


def _build_monitor(table: gr.HTML) -> tuple[Page, dict[str, Any]]:
    notice, body = Page.frame("train")
    with body:
        card = gr.HTML(elem_id="train-card")
        groups = gr.HTML(elem_id="train-groups", js_on_load=_PICK_GROUP)
        with gr.Row(elem_classes="wb-actions"):
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
            again = gr.Button(
                "Restart from checkpoint", elem_id="train-restart", size="sm", min_width=170
            )
        head = gr.HTML(elem_id="train-group")
        tiles = gr.HTML(elem_id="train-figures")
        curves = gr.HTML(elem_id="train-curves")
        with gr.Accordion("Log", open=True):
            log = gr.HTML(elem_id="train-log", autoscroll=True, max_height=280)
    actions = [pause, unpause, stop, snapshot, checkpoint, again]
    parts = [card, groups, *actions, head, tiles, curves, log]
    controls = {
        "groups": groups,
        "pause": pause,
        "resume": unpause,
        "stop": stop,
        "snapshot": snapshot,
        "checkpoint": checkpoint,
        "restart": again,
    }
    return Page(notice, body, parts, head=[table]), controls


def _wire_form(parts: _Parts, page: Mounted, services: Services, app: gr.Blocks) -> Any:
    controls = list(parts.form.controls)
    name_control = parts.form.control("run.name")

    def fill(preset: str) -> list[Any]:
        values = new_run.fresh_values(services, preset)
        return [new_run.preview(services, preset, values), *values]

    def start(state: SessionState, preset: str, *values: Any) -> list[Any]:
        name = new_run.start(services, preset, values)
        return [state.on_run(name), new_run.free_name(services, name)]

    for name, event in (("train_fill", app.load), ("train_choose_preset", parts.preset.input)):
        on_action(event, fill, name=name, inputs=[parts.preset], outputs=[parts.command, *controls])
    on_action(
        lambda handler, **options: gr.on(parts.form.changes, handler, **options),
        lambda preset, *values: new_run.preview(services, preset, values),
        name="train_preview",
        inputs=[parts.preset, *controls],
        outputs=[parts.command],
        trigger_mode="always_last",
    )
    return page.on_choice(
        parts.start.click,
        start,
        "start",
        inputs=[parts.preset, *controls],
        outputs=[name_control],
    )


def _wire_requests(parts: _Parts, page: Mounted, services: Services) -> None:
    for what in REQUESTABLE:
        asked = on_action(
            parts.controls[what].click,
            _asking(services, what),
            name=f"train_{what}",
            inputs=[page.session],
        )
        page.redraw_after(asked, what)


def _wire_restart(parts: _Parts, page: Mounted, services: Services) -> None:
    checkpoint = parts.controls["checkpoint"]
    again = on_action(
        parts.controls["restart"].click,
        lambda state, step: restart(services, state, step),
        name="train_restart",
        inputs=[page.session, checkpoint],
    )
    page.redraw_after(again, "restart")
    on_action(
        checkpoint.focus,
        lambda state, chosen: _checkpoint_choice(services, state, chosen),
        name="train_list_checkpoints",
        inputs=[page.session, checkpoint],
        outputs=[checkpoint],
    )


def _pick(state: SessionState, event: gr.EventData) -> SessionState:
    return state.on_run(event.run)


def _pick_group(state: SessionState, event: gr.EventData) -> SessionState:
    return state.on_group(event.group)
