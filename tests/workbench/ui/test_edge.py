from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pytest

from uda4inst.errors import UserError
from workbench.ui.edge import UNCHANGED, Empty, Framed, Page, on_action, on_view


@dataclass(frozen=True)
class View:
    title: str
    picture: int


@pytest.fixture(scope="module")
def page(in_loop: Callable[..., Page]) -> Page:
    def make() -> Page:
        with gr.Blocks():
            notice, body = Page.frame("x")
            return Page(notice, body, [gr.HTML(), gr.HTML()], head=[gr.HTML()])

    return in_loop(make)


class Event:
    """Stands for `button.click`: keeps what is bound to it."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def __call__(self, handler: Any, **options: Any) -> None:
        self.handler = handler
        self.options = options


def bind_view(page: Page, view: Any) -> Any:
    event = Event()
    on_view(event, view, name="show", page=page)
    assert event.options["outputs"] == page.outputs
    return event.handler


def visible(update: Any) -> bool:
    return update["visible"] if isinstance(update, dict) else update.visible


def fail(error: Exception) -> Any:
    def view() -> Any:
        raise error

    return view


def test_on_view__fields_fill_the_parts_in_order(page: Page) -> None:
    _, notice, body, *parts = bind_view(page, lambda: View("a", 1))()
    assert parts == ["a", 1]
    assert (visible(notice), visible(body)) == (False, True)


def test_on_view__empty_hides_the_body(page: Page) -> None:
    _, notice, body, *parts = bind_view(page, lambda: Empty("nothing yet"))()
    assert notice.value == "nothing yet"
    assert (visible(notice), visible(body)) == (True, False)
    assert parts == [gr.skip(), gr.skip()]


def test_on_view__unchanged_touches_nothing(page: Page) -> None:
    assert bind_view(page, lambda: UNCHANGED)() == [gr.skip()] * 5


def test_on_view__error_is_told_in_the_page(page: Page) -> None:
    notice = bind_view(page, fail(UserError("snapshot must be <whole>")))()[1]
    assert "snapshot must be &lt;whole&gt;" in notice.value


def test_on_view__error_of_the_content_leaves_the_controls(page: Page) -> None:
    head, notice, body, *_ = bind_view(
        page, lambda: Framed(["controls"], fail(UserError("broken")))
    )()
    assert head == "controls"
    assert "broken" in notice.value
    assert not visible(body)


def steps_of(page: Page, view: Any) -> list[list[Any]]:
    event = Event()
    on_view(event, view, name="show", page=page, waits=True)
    return list(event.handler())


def test_on_view__that_takes_long_says_what_it_is_at(page: Page) -> None:
    asked = threading.Event()

    def content() -> View:
        assert asked.wait(timeout=60)
        return View("a", 1)

    def waiting() -> str:
        asked.set()
        return "image 3 of 5"

    first, *_, last = steps_of(page, lambda: Framed(["controls"], content, waiting=waiting))
    assert (first[0], first[1].value) == ("controls", "image 3 of 5")
    assert (visible(first[1]), visible(first[2])) == (True, False)
    assert last[0] == gr.skip()  # a control chosen meanwhile stays
    assert last[3:] == ["a", 1]
    assert (visible(last[1]), visible(last[2])) == (False, True)


@pytest.mark.parametrize("waiting", [None, lambda: "patience"], ids=["nothing-to-say", "quick"])
def test_on_view__that_is_quick_is_one_step(page: Page, waiting: Any) -> None:
    (only,) = steps_of(page, lambda: Framed(["controls"], lambda: View("a", 1), waiting=waiting))
    assert only[3:] == ["a", 1]


def test_on_view__error_after_a_wait_is_told_in_the_page(page: Page) -> None:
    content = fail(UserError("file must be whole"))
    *_, last = steps_of(page, lambda: Framed(["controls"], content, waiting=lambda: "patience"))
    assert last[0] == "controls"
    assert "file must be whole" in last[1].value


def test_on_view__what_nobody_expected_is_told_and_logged(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        notice = bind_view(page, fail(ZeroDivisionError("by zero")))()[1]
    assert "ZeroDivisionError: by zero" in notice.value
    assert "The run is not touched" in notice.value
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("run.name must be new"), "run.name must be new"),
        (RuntimeError("odd"), "The workbench hit an error it did not expect: RuntimeError: odd"),
    ],
)
def test_on_action__error_becomes_a_message(error: Exception, message: str) -> None:
    event = Event()
    on_action(event, fail(error), name="act")
    with pytest.raises(gr.Error, match=message):
        event.handler()


def test_on_action__events_that_change_the_session_take_turns(page: Page) -> None:
    session, other = gr.State(0), page.notice
    writes, reads = Event(), Event()
    on_action(writes, lambda: 1, name="writes", outputs=[other, session])
    on_action(reads, lambda: 1, name="reads", inputs=[session], outputs=[other])
    assert (writes.options["concurrency_id"], writes.options["concurrency_limit"]) == ("session", 1)
    assert "concurrency_id" not in reads.options
