"""The workbench as one Blocks with a tab per page."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

# Before gradio is imported: it asks these when it starts.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

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

PAGES: Final[dict[PageName, ModuleType]] = {
    "train": train,
    "data": data,
    "mixing": mixing,
    "pool": pool,
    "pseudo_labels": pseudo_labels,
    "error_maps": error_maps,
    "results": results,
}
# Pictures sent to browsers are deleted from the temporary folder after an hour.
_CACHE_SECONDS: Final = 3600


def build_app(services: Services) -> gr.Blocks:
    """Return the whole app.

    Args:
        services: what the pages work with.
    """
    with gr.Blocks(
        title="UDA4Inst workbench", delete_cache=(_CACHE_SECONDS, _CACHE_SECONDS)
    ) as app:
        session = gr.State(SessionState())
        header = build_header()
        tabs: dict[PageName, gr.Tab] = {}
        pages: dict[PageName, Mounted] = {}
        with gr.Tabs():
            for name, page in PAGES.items():
                with gr.Tab(page.TITLE, id=name, elem_id=f"page-{name}") as tabs[name]:
                    pages[name] = page.build(services, session, app)
        opened = _wire_tabs(tabs, pages, session)
        wire_header(header, pages, session, services, app, opened)
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
