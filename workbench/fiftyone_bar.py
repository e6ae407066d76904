"""The head of a page that FiftyOne can open: the question, the button, and what has become of it.

The same on every such page. What the page shows now is asked for; a session that was opened for
something else is not shown here, but in the list of all sessions (`fiftyone_list.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from uda4inst.errors import UserError
from workbench.jobs.inspections import Inspection
from workbench.services import Services
from workbench.session import PageName, SessionState
from workbench.ui import fiftyone_markup, markup
from workbench.ui.edge import Mounted, on_action
from workbench.ui.views import Updates


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a page shows, as FiftyOne can show it.

    Args:
        inspection: the session.
        views: the names of saved views that show what is picked on the page, where they are there.
        note: what the session leaves out, and how to see that too.
    """

    inspection: Inspection
    views: tuple[str, ...] = ()
    note: str = ""


# What a page shows for a session; raises a `UserError` where FiftyOne cannot show it.
Ask = Callable[[Services, SessionState], Inspected]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiftyOneBar:
    """The components."""

    button: gr.Button
    status: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class FiftyOneView:
    """What a redraw sets of them."""

    button: gr.Button
    status: gr.HTML


def build_head(page: PageName, question: str, hint: str) -> FiftyOneBar:
    """Create the head of a page, with the button at its right."""
    part = page.replace("_", "-")
    with gr.Row(elem_classes="wb-head-row"):
        gr.HTML(markup.page_header(question, hint), min_width=320)
        button = gr.Button(
            "Open in FiftyOne", elem_id=f"{part}-fiftyone", size="sm", scale=0, min_width=150
        )
    status = gr.HTML(elem_id=f"{part}-fiftyone-status", elem_classes="wb-fiftyone", visible=False)
    return FiftyOneBar(button=button, status=status)


def bar_view(services: Services, state: SessionState, ask: Ask) -> FiftyOneView:
    """Return what has become of the session of what a page shows; nothing before it was opened."""
    status, can_open = _status(services, state, ask)
    return FiftyOneView(
        button=gr.Button(interactive=can_open), status=gr.HTML(status, visible=bool(status))
    )


def _status(services: Services, state: SessionState, ask: Ask) -> tuple[str, bool]:
    """Return what is said about the session, and whether the button can open one."""
    try:
        found = ask(services, state)
    except UserError:
        return "", True  # pressed, it says why
    session = services.inspections.look(found.inspection)
    if session is None:
        return "", True
    return fiftyone_markup.session_status(
        session, found.views, found.note
    ), session.state == "failed"


def wire_button(bar: FiftyOneBar, services: Services, page: Mounted, ask: Ask) -> None:
    """Let the button open a session, and time show how far it is."""

    def updates(state: SessionState) -> Updates:
        view = bar_view(services, state, ask)
        return {bar.button: view.button, bar.status: view.status}

    def press(state: SessionState) -> Updates:
        services.inspections.open(ask(services, state).inspection)
        return updates(state)

    def tick(state: SessionState, shown: str | None) -> Updates:
        status, _ = _status(services, state, ask)
        return {bar.status: gr.skip()} if status == (shown or "") else updates(state)

    outputs = [bar.button, bar.status]
    on_action(
        bar.button.click,
        press,
        name=f"{page.name}_open_fiftyone",
        inputs=[page.session],
        outputs=outputs,
    )
    on_action(
        page.timer.tick,
        tick,
        name=f"{page.name}_tick_fiftyone",
        inputs=[page.session, bar.status],
        outputs=outputs,
    )
