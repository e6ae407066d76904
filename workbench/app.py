"""The workbench as one Blocks with a tab per page."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

# Before gradio is imported: it asks these when it starts.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from workbench import markup, monitor
from workbench.edge import Mounted, on_action
from workbench.groups import group_text
from workbench.pages import data, error_maps, mixing, pool, pseudo_labels, results, train
from workbench.services import Services
from workbench.session import PageName, SessionState
from workbench.theme import CSS_PATH, make_theme

PAGES: Final[dict[PageName, ModuleType]] = {
    "train": train,
    "data": data,
    "mixing": mixing,
    "pool": pool,
    "pseudo_labels": pseudo_labels,
    "error_maps": error_maps,
    "results": results,
}
# Pages about one network; the others show the whole run, or its images.
OF_ONE_NETWORK: Final[frozenset[PageName]] = frozenset({"train", "mixing", "pool", "pseudo_labels"})
HEADER_SECONDS: Final = 3.0
# Pictures sent to browsers are deleted from the temporary folder after an hour.
_CACHE_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class _Header:
    """The line above the tabs: which run, and which network of it, everything is about."""

    run: gr.Dropdown
    group: gr.Dropdown
    line: gr.HTML
    timer: gr.Timer


def build_app(services: Services) -> gr.Blocks:
    """Return the whole app.

    Args:
        services: what the pages work with.
    """
    with gr.Blocks(
        title="UDA4Inst workbench", delete_cache=(_CACHE_SECONDS, _CACHE_SECONDS)
    ) as app:
        session = gr.State(SessionState())
        header = _build_header()
        tabs: dict[PageName, gr.Tab] = {}
        pages: dict[PageName, Mounted] = {}
        with gr.Tabs():
            for name, page in PAGES.items():
                with gr.Tab(page.TITLE, id=name, elem_id=f"page-{name}") as tabs[name]:
                    pages[name] = page.build(services, session, app)
        opened = _wire_tabs(tabs, pages, session)
        _wire_header(header, pages, session, services, app, opened)
    return app


def serve(services: Services, *, host: str, port: int) -> None:
    """Build the app and serve it until it is interrupted."""
    app = build_app(services)
    app.launch(server_name=host, server_port=port, **launch_options())


def launch_options() -> dict[str, Any]:
    """Return how the app is launched, wherever it is."""
    return {
        "theme": make_theme(),
        "css_paths": CSS_PATH,
        "footer_links": [],
        "share": False,
        "enable_monitoring": False,
        "ssr_mode": False,
    }


def first_session(services: Services) -> SessionState:
    """Return what a new browser looks at: the run that changed last."""
    return SessionState(run=next(iter(services.runs.names()), None))


def _build_header() -> _Header:
    with gr.Row(elem_classes="wb-header", equal_height=True):
        gr.HTML("<h1>UDA4Inst <span>workbench</span></h1>", elem_classes="wb-brand", min_width=220)
        run = gr.Dropdown(
            [],
            label="Run",
            show_label=False,
            container=False,
            elem_id="run",
            scale=2,
            min_width=200,
        )
        group = gr.Dropdown(
            [],
            label="Category group",
            show_label=False,
            container=False,
            elem_id="group",
            scale=2,
            min_width=300,
            visible=False,
        )
        line = gr.HTML(elem_id="run-line")
    return _Header(run, group, line, gr.Timer(HEADER_SECONDS))


def _wire_tabs(
    tabs: dict[PageName, gr.Tab], pages: dict[PageName, Mounted], session: gr.State
) -> dict[str, Any]:
    """Let a tab put its page on screen, and only that page's timer run; return the events."""
    events: dict[str, Any] = {}
    timers = [page.timer for page in pages.values()]

    def to_page(name: PageName) -> Callable[[SessionState], list[Any]]:
        return lambda state: [
            state.on_page(name),
            *(gr.Timer(active=other == name) for other in pages),
        ]

    for name, tab in tabs.items():
        opened = on_action(
            tab.select,
            to_page(name),
            name=f"app_open_{name}",
            inputs=[session],
            outputs=[session, *timers],
        )
        pages[name].redraw_after(opened, "opened")
        events[f"opened_{name}"] = opened
    return events


def _wire_header(
    header: _Header,
    pages: dict[PageName, Mounted],
    session: gr.State,
    services: Services,
    app: gr.Blocks,
    opened: dict[str, Any],
) -> None:
    """Choose a first run when the app opens, let the header choose another, and show it there."""

    def show(state: SessionState) -> list[Any]:
        return [
            _run_choices(services, state),
            _group_choices(services, state),
            _run_line(services, state),
        ]

    def tick(state: SessionState, shown: str | None) -> list[Any]:
        # A run that has just started shows its groups by and by; a list that may be open stays.
        group = _shown_group(services, state)
        same = group == (shown or None)
        return [gr.skip() if same else _group_choices(services, state), _run_line(services, state)]

    loaded = on_action(
        app.load, lambda: first_session(services), name="app_load", outputs=[session]
    )
    chosen = on_action(
        header.run.input,
        lambda state, run: state.on_run(run),
        name="app_choose_run",
        inputs=[session, header.run],
        outputs=[session],
    )
    group_chosen = on_action(
        header.group.input,
        lambda state, group: state.on_group(group),
        name="app_choose_group",
        inputs=[session, header.group],
        outputs=[session],
    )
    for page in pages.values():
        page.redraw_if_shown_after(loaded, "loaded")
        page.redraw_if_shown_after(chosen, "run_chosen")
        page.redraw_if_shown_after(group_chosen, "group_chosen")
    changes = {"loaded": loaded.success, "chosen": chosen.success, "listed": header.run.focus}
    for events in (opened, *(page.run_chosen for page in pages.values())):
        changes |= {name: event.success for name, event in events.items()}
    for name, event in changes.items():
        on_action(
            event,
            show,
            name=f"app_run_{name}",
            inputs=[session],
            outputs=[header.run, header.group, header.line],
        )
    on_action(
        header.timer.tick,
        tick,
        name="app_tick",
        inputs=[session, header.group],
        outputs=[header.group, header.line],
    )


def _run_line(services: Services, state: SessionState) -> str:
    if state.run is None or state.run not in services.runs.names():
        return '<div class="wb-runline wb-quiet">no run yet</div>'
    summary = services.runs.summary(state.run)
    return markup.run_line(summary.status, monitor.method_text(summary))


def _shown_group(services: Services, state: SessionState) -> str | None:
    """Return the group in the header: where a page shows one network of several."""
    return services.group(state) if state.page in OF_ONE_NETWORK else None


def _group_choices(services: Services, state: SessionState) -> Any:
    group = _shown_group(services, state)
    groups = services.runs.groups(state.run) if state.run is not None else []
    return gr.Dropdown(
        choices=[(group_text(name), name) for name in groups],
        value=group,
        visible=group is not None,
    )


def _run_choices(services: Services, state: SessionState) -> Any:
    names = services.runs.names()
    return gr.Dropdown(choices=names, value=state.run if state.run in names else None)
