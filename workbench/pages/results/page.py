"""Results: the paper's tables with its numbers and ours."""

from __future__ import annotations

from typing import Any, Final

import gradio as gr

from uda4inst.suites.results import NETWORKS, PROTOCOLS
from workbench.pages.results.view import results_tick, results_view
from workbench.services import Services
from workbench.session import SessionState
from workbench.ui import markup
from workbench.ui.edge import Mounted, Page, on_action

TITLE = "Results"
QUESTION = "What do the paper's tables say, and what do our runs?"
HINT = (
    "Mask AP in per cent, the mean over n seeds (smallest to largest). Gap: how much of the way "
    "from no adaptation to the upper bound a row goes. Independent of the run chosen above."
)
TICK_SECONDS = 3.0
_EXPORTS: Final = (
    ("markdown", "Markdown"),
    ("csv", "CSV"),
    ("latex", "LaTeX"),
    ("chart", "Figure"),
)


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    gr.HTML(markup.page_header(QUESTION, HINT))
    folder, protocol, network = _build_head()
    notice, body = Page.frame("results")
    with body:
        parts = _build_parts()
    page = Page(notice, body, list(parts.values()), head=[folder, protocol, network])
    mounted = Mounted(
        "results",
        session,
        page,
        lambda state: results_view(services, state),
        [],
        gr.Timer(TICK_SECONDS, active=False),
    )
    mounted.on_tick(
        lambda state, *shown: results_tick(services, state, *shown),
        inputs=[folder, parts["facts"], parts["runs"], parts["chart"]],
    )
    for key, control in (("folder", folder), ("protocol", protocol), ("network", network)):
        mounted.on_choice(control.input, _choose(key), key, inputs=[control])
    on_action(
        folder.focus,
        lambda: gr.Dropdown([str(p) for p in services.suites.folders()], allow_custom_value=True),
        name="results_listed",
        outputs=[folder],
    )
    return mounted


def _choose(key: str) -> Any:
    return lambda state, value: choose(state, key, value)


def choose(state: SessionState, key: str, value: str | None) -> SessionState:
    """Return the session on another suite, protocol or network; an emptied folder is the newest."""
    return state.on_results(**{key: value or None if key == "folder" else value})


def _build_head() -> tuple[gr.Dropdown, gr.Radio, gr.Radio]:
    with gr.Row(equal_height=True, elem_classes="wb-bar"):
        folder = gr.Dropdown(
            [],
            value=None,
            label="Suite (choose, or type the path of its folder)",
            elem_id="results-folder",
            allow_custom_value=True,
            min_width=340,
            scale=3,
        )
        protocol = gr.Radio(
            list(PROTOCOLS),
            value=PROTOCOLS[0],
            label="Protocol",
            elem_id="results-protocol",
            min_width=220,
        )
        network = gr.Radio(
            list(NETWORKS),
            value=NETWORKS[0],
            label="Network",
            elem_id="results-network",
            min_width=220,
        )
    return folder, protocol, network


def _build_parts() -> dict[str, Any]:
    """Create what a view fills, in the order of its fields."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=420):
            facts = gr.HTML(elem_id="results-facts")
        with gr.Column(scale=1, min_width=400), gr.Row(elem_classes="wb-exports"):
            exports = {
                name: gr.DownloadButton(
                    label, elem_id=f"results-{name}", size="sm", min_width=84, interactive=False
                )
                for name, label in _EXPORTS
            }
    runs = gr.HTML(elem_id="results-runs")
    table = gr.HTML(elem_id="results-table")
    notes = gr.HTML(elem_id="results-notes")
    charts = gr.HTML(elem_id="results-charts")
    classes = gr.HTML(elem_id="results-classes")
    rest = {"runs": runs, "table": table, "notes": notes, "charts": charts, "classes": classes}
    return {"facts": facts, **exports, **rest}
