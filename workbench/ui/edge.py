"""The edge between Gradio and the handlers: names, and what happens to exceptions.

Handlers are plain functions that raise ordinary errors. Here, and only here, they meet Gradio:
`on_action` turns an error into a message on top of the page (`toasts.py`), a redraw by `Mounted`
puts it into the page in place of what could not be shown, so that a page refreshed by a timer says
it once.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from gradio.components.base import FormComponent
from gradio.events import Dependency

from uda4inst.atomic import full_disk_errors
from uda4inst.errors import UserError
from workbench.session import PageName, SessionState
from workbench.ui.followed import Followed
from workbench.ui.inputs import checked
from workbench.ui.toasts import refusal
from workbench.ui.views import (
    UNCHANGED,
    UNEXPECTED,
    Frame,
    Updates,
    in_short,
    outcome_of,
)

logger = logging.getLogger(__name__)

# Such as `button.click`, and `Dependency.success` of an earlier event.
Event: TypeAlias = Callable[..., Dependency]
# What an event does that happens again while it is at work: nothing (Gradio's own choice); once
# more at the end, with the inputs as they are then, but with what the *first* click was on
# (`gr.EventData`; Gradio 6.31); or each time, in turn, with what was chosen then.
TriggerMode: TypeAlias = Literal["once", "always_last", "multiple"]
T = TypeVar("T")


def on_action(
    event: Event,
    handler: Callable[..., object],
    *,
    name: str,
    inputs: Sequence[Component] = (),
    outputs: Sequence[Block] = (),
    **options: object,
) -> Dependency:
    """Bind what a user asks for; an error becomes a message on top of the page.

    Args:
        event: such as `button.click`.
        handler: plain function of the inputs' values; returns the new value of its only output,
            or `Updates` of several.
        name: unique name of the event in the whole app.
        inputs: components read.
        outputs: components written.
        **options: passed to the event.
    """
    return event(
        _with_messages(handler, inputs),
        inputs=list(inputs),
        outputs=list(outputs),
        **_bound(name, outputs, options),
    )


@dataclass(frozen=True, slots=True)
class Mounted:
    """A page in the app, and how what is chosen on it gets onto the screen.

    A choice is two events: the first changes the session and nothing else, so it is quick and
    takes its turn; the second draws this page, and this page alone, from the session as it is then.
    Of the controls it writes only what they do not hold (`workbench/held.py`): drawings of earlier
    choices come in while a person already makes the next.

    Args:
        name: of the page; begins the names of its events.
        session: what the browser looks at.
        frame: its notice, its body and what its views fill.
        show: draws it for the session and the values of `inputs`.
        inputs: components `show` reads beside the session.
        timer: refreshes it; runs only while the page is on screen.
        run_chosen: events after which the session is on another run, by name.
        followed: controls whose every move is a choice, so that what they hold is known.
    """

    name: PageName
    session: gr.State
    frame: Frame
    show: Callable[..., object]
    inputs: Sequence[Component]
    timer: gr.Timer
    run_chosen: Mapping[str, Dependency] = field(default_factory=dict)
    followed: set[Block] = field(default_factory=set)

    def on_choice(
        self,
        event: Event,
        choose: Callable[..., SessionState | Updates],
        name: str,
        *,
        inputs: Sequence[Component] = (),
        outputs: Sequence[Component] = (),
        trigger_mode: TriggerMode | None = None,
    ) -> Dependency:
        """Bind a choice and return its event.

        Args:
            event: such as `slider.input`.
            choose: returns the new session for the session and the values of `inputs`; with
                `outputs`, `Updates` of the session and of them.
            name: of the choice.
            inputs: components read beside the session.
            outputs: components written beside the session.
            trigger_mode: what counts of what happens again while it is at work. By itself every
                time, with what is chosen then, but of a slider under a finger the last.
        """
        dragged = any(isinstance(one, gr.Slider) for one in inputs)
        moved = getattr(event, "__self__", None)
        if isinstance(moved, FormComponent) and moved in self.frame.outputs:
            self.followed.add(moved)
        chosen = on_action(
            event,
            self._followed.noting(choose, inputs, outputs),
            name=f"{self.name}_{name}",
            inputs=[self.session, *inputs, self.frame.drawing],
            outputs=[self.session, *outputs],
            trigger_mode=trigger_mode or ("always_last" if dragged else "multiple"),
        )
        self.redraw_after(chosen, name)
        return chosen

    def redraw_after(self, earlier: Dependency, name: str) -> None:
        """Draw the page once another event has succeeded."""
        self._bind(earlier.success, self.show, f"show_{name}")

    def redraw_if_shown_after(self, earlier: Dependency, name: str) -> None:
        """Draw the page once another event has succeeded, if it is the one on screen."""

        def show(state: SessionState, *values: object) -> object:
            return self.show(state, *values) if state.page == self.name else UNCHANGED

        self._bind(earlier.success, show, f"show_{name}")

    def on_tick(self, tick: Callable[..., object], *, inputs: Sequence[Component] = ()) -> None:
        """Bind what happens when time passes while the page is on screen."""
        self._on_view(self.timer.tick, tick, "tick", inputs)

    def on_input(self, event: Event, name: str) -> None:
        """Draw the page when one of the components `show` reads has changed."""
        self._bind(event, self.show, f"show_{name}")

    def _bind(self, event: Event, show: Callable[..., object], name: str) -> None:
        self._on_view(event, show, name, self.inputs, trigger_mode="always_last")

    def _on_view(
        self,
        event: Event,
        view: Callable[..., object],
        name: str,
        inputs: Sequence[Component],
        **options: object,
    ) -> None:
        """Bind a redraw; an error takes the place of the page's body."""
        name, read = f"{self.name}_{name}", [self.session, *inputs]

        def draw(state: SessionState, *values: object) -> Updates:
            outcome = outcome_of(lambda: view(state, *checked(inputs, values)), name)
            return self._followed.news(state, self.frame.updates(outcome))

        outputs = self.frame.outputs
        event(draw, inputs=read, outputs=outputs, **_bound(name, outputs, options))

    @property
    def _followed(self) -> Followed:
        return Followed(self.session, self.frame.drawing, self.followed)


def _bound(name: str, outputs: Sequence[Block], options: dict[str, object]) -> dict[str, object]:
    """Return the options every event has.

    Events that change a session happen one after the other: each reads the session when its turn
    comes, so none undoes what another has just chosen.

    Values arrive as the browser holds them. Gradio's own check against the choices and bounds of
    the moment would refuse values that are merely late, sent before a slider's bounds moved; what
    is really wrong, handlers refuse with a message that names it.

    Progress is never shown; even so the browser looks through the whole page for each component it
    would be shown on, three times an event. It is told of one output instead of all: a page that
    nobody touches takes a third of the processor time.
    """
    changes_session = any(isinstance(output, gr.State) for output in outputs)
    turns = {"concurrency_id": "session", "concurrency_limit": 1} if changes_session else {}
    seen = [out for out in outputs if isinstance(out, Component) and not isinstance(out, gr.State)]
    return {
        "api_name": name,
        "api_visibility": "private",
        "show_progress": "hidden",
        "show_progress_on": seen[:1] or None,
        "preprocess": False,
        **turns,
        **options,
    }


def _with_messages(handler: Callable[..., T], inputs: Sequence[Component]) -> Callable[..., T]:
    @functools.wraps(handler)
    def guarded(*values: object) -> T:
        try:
            with full_disk_errors(then="try it again"):
                return handler(*checked(inputs, values))
        except UserError as error:
            raise refusal(str(error), title="Please check") from error
        except Exception as error:
            logger.exception("%s failed", getattr(handler, "__name__", handler))
            raise refusal(UNEXPECTED.format(error=in_short(error)), title="Error") from error

    return guarded
