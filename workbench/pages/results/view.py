"""What the Results page shows for a session: a suite's table, its charts, its runs."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import gradio as gr

from uda4inst.errors import UserError
from uda4inst.suites import followed, found, tables
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import NETWORKS, PROTOCOLS, View
from workbench.pages.results.charts import charts
from workbench.pages.results.found_curves import found_curves
from workbench.pages.results.markup import (
    class_table,
    differences,
    footnotes,
    means_table,
    noted_table,
    parts_table,
    run_states,
    suite_facts,
)
from workbench.pages.results.speeds import speed_table
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.suite_exports import Export, text_exports
from workbench.stores.suites import SuiteStore, checked_folder
from workbench.ui import markup
from workbench.ui.views import UNCHANGED, Empty, Framed, Skip, Unchanged, served

COMMAND: Final = "uda4inst suite table5 --scale smoke --seeds 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadView:
    """What is looked at."""

    folder: gr.Dropdown
    protocol: gr.Radio
    network: str
    speeds: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ResultsView:
    """A suite's table, its charts, and files to take away."""

    facts: str
    markdown: gr.DownloadButton
    csv: gr.DownloadButton
    latex: gr.DownloadButton
    chart: gr.DownloadButton
    runs: str
    table: str
    notes: str
    differences: str
    charts: str
    classes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesView:
    """What changes by itself: how far the runs are, the chart to take away, measured speeds."""

    speeds: str | Skip = field(default_factory=gr.skip)
    runs: str | Skip = field(default_factory=gr.skip)
    chart: gr.DownloadButton | Skip = field(default_factory=gr.skip)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnScreen:
    """What a browser shows.

    Args:
        folder: of the suite, "" or None without one.
        facts: about it.
        runs: how far they are.
        chart: name of the file to take away, or None while there is none.
        speeds: that were measured.
    """

    folder: str | None = None
    facts: str | None = None
    runs: str | None = None
    chart: str | None = None
    speeds: str | None = None


def results_view(services: Services, session: SessionState) -> Framed[HeadView, ResultsView]:
    """Return the page for a session: its controls first, so that they stay usable."""
    choices = [str(folder) for folder in services.suites.folders()]
    value, chosen, refused = session.results.folder, None, None
    try:
        chosen = chosen_folder(services.suites, session)
        value = None if chosen is None else str(chosen)
    except UserError as error:
        refused = error
    protocols = _protocols(services.suites, chosen)
    wanted = session.results.protocol
    head = HeadView(
        folder=gr.Dropdown(choices=choices, value=value, allow_custom_value=True),
        protocol=gr.Radio(
            choices=list(protocols), value=wanted if wanted in protocols else protocols[0]
        ),
        network=session.results.network,
        speeds=_speeds(services, chosen),
    )

    def content() -> ResultsView | Empty:
        if refused is not None:
            raise refused
        return _content(services.suites, chosen, _view(session))

    return Framed(head, content)


def results_tick(
    services: Services, session: SessionState, shown: OnScreen
) -> Framed[HeadView, ResultsView] | ChangesView | Unchanged:
    """Return what time has changed: results, how far the runs are, the chart to take away.

    Args:
        services: what the page works with.
        session: what the browser looks at.
        shown: what may have changed since.
    """
    store, view = services.suites, _view(session)
    if session.results.folder is None and shown.folder:
        # Another suite that changed last must not take the place of the one that is read.
        session = session.on_results(folder=shown.folder)
    try:
        folder = chosen_folder(store, session)
    except UserError:
        folder = None
    if folder is None or f'"{_short(store, folder)}"' not in (shown.facts or ""):
        return results_view(services, session)
    changes = ChangesView()
    speeds = _speeds(services, folder)
    if speeds != shown.speeds:
        changes = replace(changes, speeds=speeds)
    states = run_states(store.runs(folder))
    if states != shown.runs:
        changes = replace(changes, runs=states)
    drawn = store.chart(folder, _of_suite(store.results(folder), view))
    export = _drawn(drawn)
    if shown.chart != (export.name if export else None):
        changes = replace(changes, chart=_chart_button(drawn))
    return UNCHANGED if changes == ChangesView() else changes


def chosen_folder(store: SuiteStore, session: SessionState) -> Path | None:
    """Return the folder a session looks at: the chosen one, else the one that changed last."""
    if session.results.folder is not None:
        return checked_folder(session.results.folder)
    return next(iter(store.folders()), None)


def _speeds(services: Services, folder: Path | None) -> str:
    """Return the measured speeds of all runs, those of the suite too."""
    more: list[Path] = []
    if folder is not None:
        with suppress(UserError):  # elsewhere: the page itself says so
            more.append(services.suites.runs_of(folder))
    return speed_table(services.speeds.found(more))


def _protocols(store: SuiteStore, folder: Path | None) -> tuple[str, ...]:
    """Return what can be chosen: the protocols of the suite's task, the usual ones without it."""
    try:
        return PROTOCOLS if folder is None else store.results(folder).protocols
    except UserError:
        return PROTOCOLS  # the page itself says what is wrong with the suite


def _view(session: SessionState) -> View:
    choice = session.results
    protocol = choice.protocol if choice.protocol in PROTOCOLS else PROTOCOLS[0]
    return protocol, choice.network if choice.network in NETWORKS else NETWORKS[0]


def _of_suite(results: SuiteResults, view: View) -> View:
    """Return the view, by a protocol that the suite's task has."""
    protocol, network = view
    return protocol if protocol in results.protocols else results.protocols[0], network


def _content(store: SuiteStore, folder: Path | None, view: View) -> ResultsView | Empty:
    if folder is None:
        where = f"No suite lies in {store.root} yet. Run one of the paper's tables with: {COMMAND}"
        return Empty(markup.empty("No suite yet", where))
    results = store.results(folder)
    view = _of_suite(results, view)
    means, *others = tables.tables(results, [view])
    apart = list(tables.difference_tables(results, *view))
    parts = tables.parts_table(results, *view)
    by_class = [table for table in others[len(apart) :] if table != parts]
    exports = text_exports(results, view)
    return ResultsView(
        facts=suite_facts(results, _short(store, folder)),
        markdown=_button(exports["md"]),
        csv=_button(exports["csv"]),
        latex=_button(exports["tex"]),
        chart=_chart_button(store.chart(folder, view)),
        runs=run_states(store.runs(folder)),
        table=means_table(means, results, view) + parts_table(parts),
        notes=footnotes(means.notes, view),
        differences=differences(apart),
        charts=charts(results, view) + found_curves(results, view[1]),
        classes="".join(class_table(table) for table in by_class)
        + noted_table(found.found_table(results, view[1]))
        + noted_table(followed.followed_table(results)),
    )


def _short(store: SuiteStore, folder: Path) -> str:
    """Return what changes with the results, in a few letters."""
    return hashlib.sha256(repr(store.stamp(folder)).encode()).hexdigest()[:16]


def _drawn(chart: Future[Export | None]) -> Export | None:
    """Return a chart once it is drawn; None before, and where there is none."""
    return chart.result() if chart.done() and chart.exception() is None else None


def _chart_button(chart: Future[Export | None]) -> gr.DownloadButton:
    """Return the button of the chart; while that is drawn, or cannot be, there is no file."""
    export = _drawn(chart)
    if export is not None:
        return _button(export)
    words = "Figure …"
    if chart.done():
        words = "Figure" if chart.exception() is None else "No figure"
    return gr.DownloadButton(words, value=None, interactive=False)


def _button(export: Export) -> gr.DownloadButton:
    """Return a button that hands a file out."""
    path = served(export.data, export.name)
    return gr.DownloadButton(_LABELS[Path(export.name).suffix], value=path, interactive=True)


_LABELS: Final = {
    ".md": "Markdown",
    ".csv": "CSV",
    ".tex": "LaTeX",
    ".png": "Figure",
    ".zip": "Figures (ZIP)",
}
