"""The workbench as one Blocks with a tab per page."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, Protocol, TypedDict

# Before gradio is imported: it asks these when it starts.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import fastapi
import gradio as gr
from gradio.events import Dependency
from gradio.themes import ThemeClass

from workbench.fiftyone_list import build_list, wire_list
from workbench.gate.exposure import Exposure
from workbench.gate.serving import serve_behind_gate
from workbench.header import build_header, wire_header
from workbench.pages.data import page as data
from workbench.pages.error_maps import page as error_maps
from workbench.pages.mixing import page as mixing
from workbench.pages.pool import page as pool
from workbench.pages.pseudo_labels import page as pseudo_labels
from workbench.pages.results import page as results
from workbench.pages.train import page as train
from workbench.services import Services
from workbench.session import PageName, SessionState
from workbench.ui.edge import Mounted, on_action
from workbench.ui.theme import CSS_PATH, make_theme
from workbench.ui.views import Updates


class PageModule(Protocol):
    """What `page.py` of a page offers."""

    @property
    def TITLE(self) -> str:
        """Words on its tab."""
        ...

    def build(self, services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
        """Create the page and bind its events."""
        ...


class LaunchOptions(TypedDict):
    """How the app is mounted, in Gradio's words."""

    theme: ThemeClass
    css_paths: Path
    footer_links: list[dict[str, str] | Literal["api", "gradio", "settings", "runs"]]
    run_history: bool
    show_error: bool
    enable_monitoring: bool
    ssr_mode: bool


PAGES: Final[dict[PageName, PageModule]] = {
    "train": train,
    "data": data,
    "mixing": mixing,
    "pool": pool,
    "pseudo_labels": pseudo_labels,
    "error_maps": error_maps,
    "results": results,
}
# Of two tabs that are opened in quick succession the second may be heard of first: the browser says
# when each was, in milliseconds since its page was loaded.
_SAY_WHEN: Final = "(session, when) => [session, performance.now()]"
# Pictures sent to browsers are deleted from the temporary folder after an hour.
_CACHE_SECONDS: Final = 3600
# Gradio keeps a megabyte of each browser page that ever was; beyond so many the one that has been
# silent longest is forgotten, and would begin anew. An open page is heard of every few seconds.
MOST_SESSIONS: Final = 200


def build_app(services: Services) -> gr.Blocks:
    """Return the whole app.

    Args:
        services: what the pages work with.
    """
    with gr.Blocks(
        title="UDA4Inst workbench", delete_cache=(_CACHE_SECONDS, _CACHE_SECONDS)
    ) as app:
        session = gr.State(SessionState(), delete_callback=lambda _: forget_closed(app))
        header = build_header()
        listed = build_list()
        tabs: dict[PageName, gr.Tab] = {}
        pages: dict[PageName, Mounted] = {}
        with gr.Tabs() as line_of_tabs:
            for name, page in PAGES.items():
                with gr.Tab(page.TITLE, id=name, elem_id=f"page-{name}") as tabs[name]:
                    pages[name] = page.build(services, session, app)
        opened = _wire_tabs(tabs, pages, session)
        wire_header(header, pages, session, services, app, opened, line_of_tabs)
        wire_list(listed, services.inspections, header.timer)
    app.state_session_capacity = MOST_SESSIONS
    return app


def forget_closed(app: gr.Blocks) -> None:
    """Let go of what Gradio keeps of browser pages that are closed and will not be reopened.

    Called as Gradio gives up their state, an hour after they were closed.
    """
    pages = app.state_holder.session_data
    for name, page in list(pages.items()):
        if page.is_closed and all(is_over for *_, is_over in page.state_components):
            pages.pop(name, None)
            app.state_holder.time_last_used.pop(name, None)


def serve(services: Services, exposure: Exposure) -> None:
    """Build the app and serve it until it is interrupted.

    Args:
        services: what the pages work with.
        exposure: where it listens, and who may come in.

    Raises:
        UserError: the address or the port cannot be had.
    """

    def mount(site: fastapi.FastAPI) -> None:
        gr.mount_gradio_app(site, build_app(services), path="", **launch_options())

    services.jobs.keep_advancing()
    serve_behind_gate(mount, exposure)


def launch_options() -> LaunchOptions:
    """Return how the app is mounted, wherever it is."""
    return {
        "theme": make_theme(),
        "css_paths": CSS_PATH,
        "footer_links": [],
        "run_history": False,
        "show_error": False,
        "enable_monitoring": False,
        "ssr_mode": False,
    }


def _wire_tabs(
    tabs: dict[PageName, gr.Tab], pages: dict[PageName, Mounted], session: gr.State
) -> dict[str, Dependency]:
    """Let a tab put its page on screen, and only that page's timer run; return the events."""
    events: dict[str, Dependency] = {}
    timers = {name: page.timer for name, page in pages.items()}
    when = gr.Number(0, visible=False)

    def to_page(name: PageName) -> Callable[[SessionState, float], Updates]:
        def turn(state: SessionState, opened: float) -> Updates:
            if opened < state.opened:
                return {session: state}  # late: another tab has been opened since
            clocks = {timer: gr.Timer(active=page == name) for page, timer in timers.items()}
            return {session: replace(state.on_page(name), opened=opened), **clocks}

        return turn

    for name, tab in tabs.items():
        opened = on_action(
            tab.select,
            to_page(name),
            name=f"app_open_{name}",
            inputs=[session, when],
            outputs=[session, *timers.values()],
            js=_SAY_WHEN,
            trigger_mode="multiple",
        )
        pages[name].redraw_after(opened, "opened")
        events[f"opened_{name}"] = opened
    return events
