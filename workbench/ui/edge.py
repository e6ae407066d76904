"""The edge between Gradio and the handlers: names, and what happens to exceptions.

Handlers are plain functions that raise ordinary errors. Here, and only here, they meet Gradio:
`on_action` turns an error into a message on top of the page (`gr.Error`), `on_view` puts it into
the page in place of what could not be shown, so that a page refreshed by a timer says it once.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

import cv2
import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from uda4inst.errors import UserError
from workbench.session import PageName, SessionState
from workbench.ui import markup

logger = logging.getLogger(__name__)

UNEXPECTED = (
    "The workbench hit an error it did not expect: {error}. The run is not touched; "
    "the details are in the terminal the app was started from."
)
T = TypeVar("T")
# Between two looks at a view that takes long; what is faster is shown at once.
_PATIENCE_SECONDS: Final = 0.4


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What a view returns when the page already shows everything."""


UNCHANGED = Unchanged()


@dataclass(frozen=True, slots=True)
class Empty:
    """What a view returns when there is nothing to show yet.

    Args:
        message: why, and what to do about it.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Framed:
    """What a view returns when its page has controls that must stay usable, come what may.

    Args:
        head: values of the page's head.
        content: makes the rest; an error in it leaves the head in place.
        waiting: where `content` may take long, says what it is at, on a page that `waits`.
    """

    head: Sequence[Any]
    content: Callable[[], Any]
    waiting: Callable[[], str] | None = None


def on_action(
    event: Callable[..., Any],
    handler: Callable[..., Any],
    *,
    name: str,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    **options: Any,
) -> Any:
    """Bind what a user asks for; an error becomes a message on top of the page.

    Args:
        event: such as `button.click`.
        handler: plain function of the inputs' values.
        name: unique name of the event in the whole app.
        inputs: components read.
        outputs: components written.
        **options: passed to the event.
    """
    return event(
        _with_messages(handler),
        inputs=list(inputs),
        outputs=list(outputs),
        **_bound(name, outputs, options),
    )


def on_view(
    event: Callable[..., Any],
    view: Callable[..., Any],
    *,
    name: str,
    page: Page,
    inputs: Sequence[Any] = (),
    waits: bool = False,
    **options: Any,
) -> Any:
    """Bind a redraw of a page; an error takes the place of the page's body.

    Args:
        event: such as `timer.tick`.
        view: returns a dataclass whose fields are the page's outputs in order, `Empty`, or
            `UNCHANGED`.
        name: unique name of the event in the whole app.
        page: where to show it.
        inputs: components read.
        waits: whether the view says what it is at while it takes long.
        **options: passed to the event.
    """

    @functools.wraps(view)
    def draw(*values: Any) -> list[Any]:
        return page.updates(_outcome(view, *values))

    @functools.wraps(view)
    def draw_in_steps(*values: Any) -> Iterator[list[Any]]:
        yield from page.steps(_outcome(view, *values))

    return event(
        draw_in_steps if waits else draw,
        inputs=list(inputs),
        outputs=page.outputs,
        **_bound(name, page.outputs, options),
    )


@dataclass(frozen=True, slots=True)
class Page:
    """The frame every page shares.

    Args:
        notice: says why there is nothing to show.
        body: everything else; hidden while the notice speaks.
        parts: the components a view fills, in the order of its fields.
        head: components outside the body, filled by a `Framed` view.
    """

    notice: gr.HTML
    body: gr.Column
    parts: Sequence[Any]
    head: Sequence[Any] = ()

    @classmethod
    def frame(cls, name: str) -> tuple[gr.HTML, gr.Column]:
        """Create an unseen notice and an unseen body, to be filled by the page."""
        notice = gr.HTML(elem_id=f"{name}-notice", visible=False)
        return notice, gr.Column(visible=False, elem_id=f"{name}-body")

    @property
    def outputs(self) -> list[Any]:
        """Every component a redraw may change."""
        return [*self.head, self.notice, self.body, *self.parts]

    def updates(self, outcome: Any) -> list[Any]:
        """Return the outputs' new values for what a view returned."""
        if isinstance(outcome, Unchanged):
            return [gr.skip() for _ in self.outputs]
        if isinstance(outcome, Framed):
            return [*outcome.head, *self._content(_outcome(outcome.content))]
        return [*(gr.skip() for _ in self.head), *self._content(outcome)]

    def steps(self, outcome: Any) -> Iterator[list[Any]]:
        """Yield the outputs' values, first those that ask for patience if it takes long."""
        if not isinstance(outcome, Framed) or outcome.waiting is None:
            yield self.updates(outcome)
            return
        head = outcome.head
        with ThreadPoolExecutor(1) as worker:
            content = worker.submit(_outcome, outcome.content)
            while not wait([content], timeout=_PATIENCE_SECONDS).done:
                yield [*head, *self._content(Empty(outcome.waiting()))]
                # Once on screen the controls are the user's, who may touch them meanwhile.
                head = [gr.skip() for _ in outcome.head]
        yield [*head, *self._content(content.result())]

    def _content(self, outcome: Any) -> list[Any]:
        if isinstance(outcome, Empty):
            rest = [gr.skip() for _ in self.parts]
            notice = gr.HTML(outcome.message, visible=bool(outcome.message))
            return [notice, gr.Column(visible=False), *rest]
        values = [getattr(outcome, field.name) for field in fields(outcome)]
        return [gr.HTML(visible=False), gr.Column(visible=True), *map(_encoded, values)]


@dataclass(frozen=True, slots=True)
class Mounted:
    """A page in the app, and how what is chosen on it gets onto the screen.

    A choice is two events: the first changes the session and nothing else, so it is quick and
    takes its turn; the second draws this page, and this page alone, from the session as it is then.

    Args:
        name: of the page; begins the names of its events.
        session: what the browser looks at.
        page: its frame.
        show: draws it for the session and the values of `inputs`.
        inputs: components `show` reads beside the session.
        timer: refreshes it; runs only while the page is on screen.
        waits: whether `show` says what it is at while it takes long.
        run_chosen: events after which the session is on another run, by name.
    """

    name: PageName
    session: gr.State
    page: Page
    show: Callable[..., Any]
    inputs: Sequence[Any]
    timer: gr.Timer
    waits: bool = False
    run_chosen: Mapping[str, Any] = field(default_factory=dict)

    def on_choice(
        self,
        event: Callable[..., Any],
        choose: Callable[..., Any],
        name: str,
        *,
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
    ) -> Any:
        """Bind a choice and return its event.

        Args:
            event: such as `slider.input`.
            choose: returns the new session (and values of `outputs`) for the session and the
                values of `inputs`.
            name: of the choice.
            inputs: components read beside the session.
            outputs: components written beside the session.
        """
        chosen = on_action(
            event,
            choose,
            name=f"{self.name}_{name}",
            inputs=[self.session, *inputs],
            outputs=[self.session, *outputs],
            trigger_mode="always_last",
        )
        self.redraw_after(chosen, name)
        return chosen

    def redraw_after(self, earlier: Any, name: str) -> None:
        """Draw the page once another event has succeeded."""
        self._bind(earlier.success, self.show, f"show_{name}")

    def redraw_if_shown_after(self, earlier: Any, name: str) -> None:
        """Draw the page once another event has succeeded, if it is the one on screen."""

        def show(state: SessionState, *values: Any) -> Any:
            return self.show(state, *values) if state.page == self.name else UNCHANGED

        self._bind(earlier.success, show, f"show_{name}")

    def on_tick(self, tick: Callable[..., Any], *, inputs: Sequence[Any] = ()) -> None:
        """Bind what happens when time passes while the page is on screen."""
        on_view(
            self.timer.tick,
            tick,
            name=f"{self.name}_tick",
            page=self.page,
            inputs=[self.session, *inputs],
            waits=self.waits,
        )

    def on_input(self, event: Callable[..., Any], name: str) -> None:
        """Draw the page when one of the components `show` reads has changed."""
        self._bind(event, self.show, f"show_{name}")

    def _bind(self, event: Callable[..., Any], show: Callable[..., Any], name: str) -> None:
        on_view(
            event,
            show,
            name=f"{self.name}_{name}",
            page=self.page,
            inputs=[self.session, *self.inputs],
            waits=self.waits,
            trigger_mode="always_last",
        )


def _bound(name: str, outputs: Sequence[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options every event has.

    Events that change a session happen one after the other: each reads the session when its turn
    comes, so none undoes what another has just chosen.

    Values arrive as the browser holds them. Gradio's own check against the choices and bounds of
    the moment would refuse values that are merely late, sent before a slider's bounds moved; what
    is really wrong, handlers refuse with a message that names it.
    """
    changes_session = any(isinstance(output, gr.State) for output in outputs)
    turns = {"concurrency_id": "session", "concurrency_limit": 1} if changes_session else {}
    return {
        "api_name": name,
        "api_visibility": "private",
        "show_progress": "hidden",
        "preprocess": False,
        **turns,
        **options,
    }


def _encoded(value: Any) -> Any:
    """Return pictures as files in Gradio's cache, everything else as it is.

    Gradio encodes arrays with the slowest of compressions; a page of five pictures would take most
    of its time there.
    """
    if not isinstance(value, np.ndarray):
        return value
    done, data = cv2.imencode(".png", value[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"picture must be encodable, got {value.dtype} of shape {value.shape}.")
    return save_bytes_to_cache(data.tobytes(), "picture.png", get_upload_folder())


def _outcome(view: Callable[..., Any], *values: Any) -> Any:
    try:
        return view(*values)
    except UserError as error:
        return Empty(markup.problem(str(error)))
    except Exception as error:
        logger.exception("%s failed", getattr(view, "__name__", view))
        return Empty(markup.problem(UNEXPECTED.format(error=_short(error))))


def _with_messages(handler: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(handler)
    def guarded(*values: Any) -> T:
        try:
            return handler(*values)
        except gr.Error:
            raise
        except UserError as error:
            raise gr.Error(str(error), title="Please check", print_exception=False) from error
        except Exception as error:
            logger.exception("%s failed", getattr(handler, "__name__", handler))
            raise gr.Error(
                UNEXPECTED.format(error=_short(error)), title="Error", print_exception=False
            ) from error

    return guarded


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
