"""Results: the paper's tables with its numbers and ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from uda4inst.suites.rows import NETWORKS, PROTOCOLS
from workbench.pages.results.view import (
    ChangesView,
    HeadView,
    OnScreen,
    ResultsView,
    results_tick,
    results_view,
)
from workbench.services import Services
from workbench.session import SessionState
from workbench.ui import markup
from workbench.ui.edge import Mounted, on_action
from workbench.ui.views import Frame

TITLE = "Results"
QUESTION = "What do the paper's tables say, and what do our runs?"
HINT = (
    "Mask AP, or mIoU of semantic suites, in per cent, the mean over n runs (smallest to "
    "largest). Gap: how much of the way from no adaptation to the upper bound a row goes. "
    "Differences are bold where their 95 % interval leaves out zero. Independent of the run "
    "chosen above."
)
TICK_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeadSlots:
    """What chooses a suite and how it is seen, and what is there without one."""

    folder: gr.Dropdown
    protocol: gr.Radio
    network: gr.Radio
    speeds: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """What a suite is shown in."""

    facts: gr.HTML
    markdown: gr.DownloadButton
    csv: gr.DownloadButton
    latex: gr.DownloadButton
    chart: gr.DownloadButton
    runs: gr.HTML
    table: gr.HTML
    notes: gr.HTML
    differences: gr.HTML
    charts: gr.HTML
    classes: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changing:
    """What changes by itself."""

    runs: gr.HTML
    chart: gr.DownloadButton
    speeds: gr.HTML


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    gr.HTML(markup.page_header(QUESTION, HINT))
    folder, protocol, network = _build_choices()
    notice, body = Frame.open("results")
    with body:
        slots = _build_slots()
    speeds = gr.HTML(elem_id="results-speeds")
    head = _HeadSlots(folder=folder, protocol=protocol, network=network, speeds=speeds)
    changing = _Changing(runs=slots.runs, chart=slots.chart, speeds=speeds)
    frame = Frame.of(notice, body, {HeadView: head, ResultsView: slots, ChangesView: changing})
    timer = gr.Timer(TICK_SECONDS, active=False)
    mounted = Mounted(
        "results", session, frame, lambda state: results_view(services, state), [], timer
    )
    _wire_timer(mounted, head, slots, services)
    mounted.on_choice(folder.input, choose_folder, "folder", inputs=[folder])
    for key, control in (("protocol", protocol), ("network", network)):
        mounted.on_choice(
            control.input,
            lambda s, v, shown, key=key: choose(s, key, v, shown),
            key,
            inputs=[control, folder],
        )
    on_action(
        head.folder.focus,
        lambda: gr.Dropdown([str(p) for p in services.suites.folders()], allow_custom_value=True),
        name="results_listed",
        outputs=[head.folder],
    )
    return mounted


def _wire_timer(page: Mounted, head: _HeadSlots, slots: _Slots, services: Services) -> None:
    def tick(
        state: SessionState,
        folder: str | None,
        facts: str | None,
        runs: str | None,
        chart: dict[str, str] | None,
        speeds: str | None,
    ) -> object:
        file = Path(chart["path"]).name if chart else None
        shown = OnScreen(folder=folder, facts=facts, runs=runs, chart=file, speeds=speeds)
        return results_tick(services, state, shown)

    inputs = [head.folder, slots.facts, slots.runs, slots.chart, head.speeds]
    page.on_tick(tick, inputs=inputs)


def choose_folder(state: SessionState, value: str | None) -> SessionState:
    """Return the session on another suite; an emptied folder is the newest."""
    return state.on_results(folder=value or None)


def choose(state: SessionState, key: str, value: str | None, shown: str | None) -> SessionState:
    """Return the session on another protocol or network, of the suite that is on screen.

    Without a chosen suite the newest is shown: another that has become so since must not take the
    place of the one whose protocol was chosen.
    """
    return state.on_results(**{key: value, "folder": state.results.folder or shown or None})


def _build_choices() -> tuple[gr.Dropdown, gr.Radio, gr.Radio]:
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


def _build_slots() -> _Slots:
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=420):
            facts = gr.HTML(elem_id="results-facts")
        with gr.Column(scale=1, min_width=400), gr.Row(elem_classes="wb-exports"):
            markdown = _export("markdown", "Markdown")
            csv = _export("csv", "CSV")
            latex = _export("latex", "LaTeX")
            chart = _export("chart", "Figure")
    return _Slots(
        facts=facts,
        markdown=markdown,
        csv=csv,
        latex=latex,
        chart=chart,
        runs=gr.HTML(elem_id="results-runs"),
        table=gr.HTML(elem_id="results-table"),
        notes=gr.HTML(elem_id="results-notes"),
        differences=gr.HTML(elem_id="results-differences"),
        charts=gr.HTML(elem_id="results-charts"),
        classes=gr.HTML(elem_id="results-classes"),
    )


def _export(name: str, label: str) -> gr.DownloadButton:
    return gr.DownloadButton(
        label, elem_id=f"results-{name}", size="sm", min_width=84, interactive=False
    )
