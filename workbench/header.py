"""The line above the tabs: which run, and which network of it, everything is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import Final

import gradio as gr
from gradio.events import Dependency

from workbench.address import query_of, session_at
from workbench.gate.addresses import not_understood
from workbench.services import Services
from workbench.session import PageName, SessionState
from workbench.stores.groups import group_text
from workbench.ui import markup
from workbench.ui.edge import Mounted, on_action
from workbench.ui.entries import ENTRIES_SCRIPT
from workbench.ui.followed import Followed
from workbench.ui.lists import LISTS_SCRIPT, whether_open
from workbench.ui.toasts import note
from workbench.ui.views import Updates

# Pages about one network; the others show the whole run, or its images.
OF_ONE_NETWORK: Final[frozenset[PageName]] = frozenset({"train", "mixing", "pool", "pseudo_labels"})
HEADER_SECONDS: Final = 3.0
# What the browser's address line says, so that it can be kept, sent and opened again.
_SHOW_ADDRESS: Final = """
watch('value', () => {
  const query = new URLSearchParams(props.value);
  const theme = new URLSearchParams(location.search).get('__theme');
  if (theme) query.set('__theme', theme);
  history.replaceState(history.state, '', `?${query}`);
});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The components of the line.

    Args:
        run: the list of runs.
        run_listed: whether that list is open; filled by the browser, never on screen.
        group: the list of the run's category groups.
        drawing: number of the last drawing of the lists that the browser has; unseen.
        line: state, step and method of the run.
        timer: keeps the line and the lists up to date.
        address: what the browser's address line says.
    """

    run: gr.Dropdown
    run_listed: gr.Checkbox
    group: gr.Dropdown
    drawing: gr.Number
    line: gr.HTML
    timer: gr.Timer
    address: gr.HTML


def first_session(services: Services) -> SessionState:
    """Return what a new browser looks at: the run that changed last, or else one that waits."""
    names = services.runs.names()
    begun = [name for name in names if services.runs.queue().place(name) is None]
    return SessionState(run=next(iter(begun or names), None))


def build_header() -> Header:
    """Create the line."""
    with gr.Row(elem_classes="wb-header", equal_height=True):
        gr.HTML(
            "<h1>UDA4Inst <span>workbench</span></h1>",
            elem_classes="wb-brand",
            min_width=220,
            js_on_load=LISTS_SCRIPT + ENTRIES_SCRIPT,
        )
        run = _dropdown("Run", "run", min_width=200)
        group = _dropdown("Category group", "group", min_width=300, visible=False)
        line = gr.HTML(elem_id="run-line")
        address = gr.HTML(
            elem_id="address", elem_classes="wb-unseen", js_on_load=_SHOW_ADDRESS, padding=False
        )
    timer = gr.Timer(HEADER_SECONDS)
    return Header(
        run=run,
        run_listed=gr.Checkbox(visible=False),
        group=group,
        drawing=gr.Number(0, visible=False),
        line=line,
        timer=timer,
        address=address,
    )


def _dropdown(label: str, name: str, *, min_width: int, visible: bool = True) -> gr.Dropdown:
    return gr.Dropdown(
        [],
        label=label,
        show_label=False,
        container=False,
        elem_id=name,
        scale=2,
        min_width=min_width,
        visible=visible,
    )


def wire_header(
    header: Header,
    pages: Mapping[PageName, Mounted],
    session: gr.State,
    services: Services,
    app: gr.Blocks,
    opened: Mapping[str, Dependency],
    tabs: gr.Tabs,
) -> None:
    """Choose a first run when the app opens, let the header choose another, and show it there.

    Args:
        header: the line.
        pages: all of them, to be drawn again for another run.
        session: what the browser looks at.
        services: what the pages work with.
        app: where it all is.
        opened: events after which another page is on screen, by name.
        tabs: the pages' tabs.
    """
    lists = Followed(session, header.drawing, {header.run, header.group})
    changes = _wire_choices(header, lists, pages, services, app, tabs)
    for page in pages.values():
        changes |= page.run_chosen

    def line_and_group(state: SessionState) -> Updates:
        return {
            header.line: _run_line(services, state),
            header.group: _group_choices(services, state),
        }

    def everything(state: SessionState) -> Updates:
        return line_and_group(state) | {header.run: _run_choices(services, state)}

    def tick(listed: bool, state: SessionState) -> Updates:
        # A list that was open when this was asked for stays (`ui/lists.py` has presses on one that
        # changes just after it opened); a run that has just started shows its groups by and by.
        return lists.news(state, line_and_group(state) if listed else everything(state))

    outputs = [header.run, header.group, header.line, header.drawing]
    for events, view in ((changes, everything), (opened, line_and_group)):
        for name, event in events.items():
            on_action(
                event.success,
                partial(_drawn, view, lists),
                name=f"app_run_{name}",
                inputs=[session],
                outputs=outputs,
                trigger_mode="always_last",
            )
    on_action(
        header.timer.tick,
        tick,
        name="app_tick",
        inputs=[header.run_listed, session],
        outputs=outputs,
        js=whether_open("run"),
    )
    on_action(
        session.change, query_of, name="app_address", inputs=[session], outputs=[header.address]
    )


def _drawn(
    view: Callable[[SessionState], Updates], lists: Followed, state: SessionState
) -> Updates:
    return lists.news(state, view(state))


def _wire_choices(
    header: Header,
    lists: Followed,
    pages: Mapping[PageName, Mounted],
    services: Services,
    app: gr.Blocks,
    tabs: gr.Tabs,
) -> dict[str, Dependency]:
    """Bind what puts the session on a run or a group; return the events after which it is."""
    session = lists.session

    def load(state: SessionState, request: gr.Request) -> Updates:
        query = str(request.query_params)
        strange = not_understood(query)
        if strange:
            note(
                f"{strange} is no address of the workbench. This is its start page.",
                title="Not found",
            )
        first = replace(
            first_session(services),
            preset=state.preset,
            opened=state.opened,
            turn=state.turn,
            held=state.held,
        )
        state, missing = session_at(query, first, services.runs.names())
        if missing:
            note(f"{', '.join(missing)}: not here, or no longer.", title="Not found")
        return {session: state, tabs: gr.Tabs(selected=state.page)}

    def choose(control: gr.Dropdown, on: Callable[..., SessionState], name: str) -> Dependency:
        return on_action(
            control.input,
            lists.noting(on, [control]),
            name=f"app_choose_{name}",
            inputs=[session, control, lists.drawing],
            outputs=[session],
            trigger_mode="multiple",
        )

    loaded = on_action(app.load, load, name="app_load", inputs=[session], outputs=[session, tabs])
    chosen = choose(header.run, lambda state, run: state.on_run(run), "run")
    group_chosen = choose(header.group, lambda state, group: state.on_group(group), "group")
    for page in pages.values():
        page.redraw_if_shown_after(loaded, "loaded")
        page.redraw_if_shown_after(chosen, "run_chosen")
        page.redraw_if_shown_after(group_chosen, "group_chosen")
    return {"loaded": loaded, "chosen": chosen}


def _run_line(services: Services, state: SessionState) -> str:
    if state.run is None or not services.runs.has(state.run):
        words = "no run yet" if state.run is None else f"{state.run} is gone"
        return f'<div class="wb-runline wb-quiet">{escape(words)}</div>'
    summary = services.runs.summary(state.run)
    status = summary.status
    where = f"step {status.step:,} of {status.steps:,}" if status.steps else ""
    return (
        f'<div class="wb-runline">{markup.chip(status.state)}<span>{escape(where)}</span>'
        f"<span>{escape(markup.method_text(summary))}</span></div>"
    )


def _shown_group(services: Services, state: SessionState) -> str | None:
    """Return the group in the header: where a page shows one network of several."""
    return services.group(state) if state.page in OF_ONE_NETWORK else None


def _group_choices(services: Services, state: SessionState) -> gr.Dropdown:
    group = _shown_group(services, state)
    groups = services.runs.groups(state.run) if state.run is not None else []
    return gr.Dropdown(
        choices=[(group_text(name), name) for name in groups],
        value=group,
        visible=group is not None,
    )


def _run_choices(services: Services, state: SessionState) -> gr.Dropdown:
    names = services.runs.newest_first()
    return gr.Dropdown(choices=names, value=state.run if state.run in names else None)
