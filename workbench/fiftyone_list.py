"""The list of FiftyOne sessions, above the pages: what each shows, since when, and how to close it.

Unseen while there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import gradio as gr

from workbench.jobs.inspections import FiftyOneSession, Inspections
from workbench.ui import fiftyone_markup
from workbench.ui.edge import on_action
from workbench.ui.views import Updates

_CLOSE: Final = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-close]');
  if (button) trigger('close', {number: Number(button.dataset.close)});
});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FiftyOneList:
    """The components."""

    fold: gr.Accordion
    table: gr.HTML


def build_list() -> FiftyOneList:
    """Create the list, folded."""
    with gr.Accordion("", open=False, visible=False, elem_id="fiftyone") as fold:
        table = gr.HTML(elem_id="fiftyone-sessions", elem_classes="wb-lines", js_on_load=_CLOSE)
    return FiftyOneList(fold=fold, table=table)


def wire_list(parts: FiftyOneList, inspections: Inspections, timer: gr.Timer) -> None:
    """Keep the list up to date, and let it close sessions."""

    def show() -> Updates:
        sessions = inspections.all()
        fold = gr.Accordion(label=_label(sessions), visible=bool(sessions))
        return {parts.fold: fold, parts.table: fiftyone_markup.session_table(sessions)}

    def tick(shown: str | None) -> Updates:
        found = show()
        return {parts.table: gr.skip()} if found[parts.table] == (shown or "") else found

    def close(event: gr.EventData) -> Updates:
        inspections.close(event.number)
        return show()

    outputs = [parts.fold, parts.table]
    on_action(timer.tick, tick, name="app_tick_fiftyone", inputs=[parts.table], outputs=outputs)
    on_action(
        parts.table.close,
        close,
        name="app_close_fiftyone",
        outputs=outputs,
        trigger_mode="multiple",  # each click is on a session of its own
    )


def _label(sessions: list[FiftyOneSession]) -> str:
    """Return how many sessions are in which state.

    Example:
        >>> _label([])
        'FiftyOne: no session'
    """
    states = [session.state for session in sessions]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"FiftyOne: {', '.join(counts) or 'no session'}"
