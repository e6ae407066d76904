"""The line above the tabs: which run, and which network of it, everything is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
        line: state, step and method of the run.
        timer: keeps the line and the lists up to date.
        address: what the browser's address line says.
    """

    run: gr.Dropdown
    run_listed: gr.Checkbox
    group: gr.Dropdown
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
            js_on_load=LISTS_SCRIPT,
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
    changes = _wire_choices(header, pages, session, services, app, tabs)
    for page in pages.values():
        changes |= page.run_chosen

    def show_line(state: SessionState) -> Updates:
        return {
            header.group: _group_choices(services, state),
            header.line: _run_line(services, state),
        }

    def show(state: SessionState, shown: str | None) -> Updates:
        return show_line(state) | {header.run: _run_choices(services, state, shown)}

    for name, event in changes.items():
        on_action(
            event.success,
            show,
            name=f"app_run_{name}",
            inputs=[session, header.run],
            outputs=[header.run, header.group, header.line],
            trigger_mode="always_last",
        )
    for name, event in opened.items():
        on_action(
            event.success,
            show_line,
            name=f"app_run_{name}",
            inputs=[session],
            outputs=[header.group, header.line],
            trigger_mode="always_last",
        )
    on_action(
        session.change, query_of, name="app_address", inputs=[session], outputs=[header.address]
    )
    _wire_timer(header, session, services)


def _wire_choices(
    header: Header,
    pages: Mapping[PageName, Mounted],
    session: gr.State,
    services: Services,
    app: gr.Blocks,
    tabs: gr.Tabs,
) -> dict[str, Dependency]:
    """Bind what puts the session on a run or a group; return the events after which it is."""

    def load(state: SessionState, request: gr.Request) -> Updates:
        query = str(request.query_params)
        strange = not_understood(query)
        if strange:
            note(
                f"{strange} is no address of the workbench. This is its start page.",
                title="Not found",
            )
        first = replace(first_session(services), preset=state.preset)
        state, missing = session_at(query, first, services.runs.names())
        if missing:
            note(f"{', '.join(missing)}: not here, or no longer.", title="Not found")
        return {session: state, tabs: gr.Tabs(selected=state.page)}

    loaded = on_action(app.load, load, name="app_load", inputs=[session], outputs=[session, tabs])
    chosen = on_action(
        header.run.input,
        lambda state, run: state.on_run(run),
        name="app_choose_run",
        inputs=[session, header.run],
        outputs=[session],
        trigger_mode="multiple",
    )
    group_chosen = on_action(
        header.group.input,
        lambda state, group: state.on_group(group),
        name="app_choose_group",
        inputs=[session, header.group],
        outputs=[session],
        trigger_mode="multiple",
    )
    for page in pages.values():
        page.redraw_if_shown_after(loaded, "loaded")
        page.redraw_if_shown_after(chosen, "run_chosen")
        page.redraw_if_shown_after(group_chosen, "group_chosen")
    return {"loaded": loaded, "chosen": chosen}


def _wire_timer(header: Header, session: gr.State, services: Services) -> None:
    """Keep the line up to date, and the list of runs while nobody chooses from it."""

    def tick(listed: bool, state: SessionState, shown: str | None) -> Updates:
        updates: Updates = {header.line: _run_line(services, state)}
        if not listed:
            updates[header.run] = gr.Dropdown(choices=services.runs.newest_first())
        # A run that has just started shows its groups by and by; a list that may be open stays.
        if _shown_group(services, state) != (shown or None):
            updates[header.group] = _group_choices(services, state)
        return updates

    on_action(
        header.timer.tick,
        tick,
        name="app_tick",
        inputs=[header.run_listed, session, header.group],
        outputs=[header.run, header.group, header.line],
        js=whether_open("run"),
    )


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


def _run_choices(services: Services, state: SessionState, shown: str | None) -> gr.Dropdown:
    """Return the list of runs, and the chosen one where another is on screen.

    Gradio's list says a second time what is chosen when it is left, and says what it holds then: an
    answer that names the former run, coming in between, would take the choice back.
    """
    names = services.runs.newest_first()
    run = state.run if state.run in names else None
    return gr.Dropdown(choices=names) if run == shown else gr.Dropdown(choices=names, value=run)
