from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
import pytest
from gradio.events import Dependency

from uda4inst.errors import UserError
from workbench.ui.edge import on_action, on_view
from workbench.ui.views import Frame, Updates


@dataclass(frozen=True)
class View:
    title: str


@dataclass(frozen=True)
class Parts:
    title: gr.HTML


@pytest.fixture(scope="module")
def parts(in_loop: Callable[[Callable[[], object]], object]) -> Parts:
    def make() -> Parts:
        with gr.Blocks():
            return Parts(gr.HTML())

    made = in_loop(make)
    assert isinstance(made, Parts)
    return made


@pytest.fixture(scope="module")
def frame(parts: Parts) -> Frame:
    return Frame.of(gr.HTML(), gr.Column(), {View: parts})


class Event:
    """Stands for `button.click`: keeps what is bound to it."""

    def __init__(self) -> None:
        self.options: dict[str, object] = {}

    def __call__(self, handler: Callable[[], object], **options: object) -> Dependency:
        self.handler = handler
        self.options = options
        return Dependency(None, {}, 0, None)


def fail(error: Exception) -> Callable[[], object]:
    def view() -> object:
        raise error

    return view


def bind_view(frame: Frame, view: Callable[[], object]) -> Callable[[], Updates]:
    event = Event()
    on_view(event, view, name="show", frame=frame)
    assert event.options["outputs"] == frame.outputs

    def draw() -> Updates:
        updates = event.handler()
        assert isinstance(updates, dict)
        return updates

    return draw


def test_on_view__fills_the_frame_by_name(frame: Frame, parts: Parts) -> None:
    assert bind_view(frame, lambda: View("a"))()[parts.title] == "a"


def test_on_view__error_takes_the_place_of_the_body(frame: Frame, parts: Parts) -> None:
    updates = bind_view(frame, fail(UserError("file must be whole")))()
    notice, body = updates[frame.notice], updates[frame.body]
    assert isinstance(notice, gr.HTML)
    assert isinstance(body, gr.Column)
    assert "file must be whole" in str(notice.value)
    assert (notice.visible, body.visible) == (True, False)
    assert parts.title not in updates


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("run.name must be new"), "run.name must be new"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/runs/demo/config.yaml"),
            "what is written must fit on the disk, got a full disk (/runs/demo/config.yaml). Make "
            "room, then try it again.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "what is written must fit on the disk, got a full disk. Make room, then try it again.",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/x"),
            "did not expect: FileNotFoundError",
        ),
        (RuntimeError("odd"), "The workbench hit an error it did not expect: RuntimeError: odd"),
    ],
)
def test_on_action__error_becomes_a_message(error: Exception, message: str) -> None:
    event = Event()
    on_action(event, fail(error), name="act")
    with pytest.raises(gr.Error, match=re.escape(message)):
        event.handler()


def test_on_action__events_that_change_the_session_take_turns(parts: Parts) -> None:
    session = gr.State(0)
    writes, reads = Event(), Event()
    on_action(writes, lambda: 1, name="writes", outputs=[parts.title, session])
    on_action(reads, lambda: 1, name="reads", inputs=[session], outputs=[parts.title])
    assert (writes.options["concurrency_id"], writes.options["concurrency_limit"]) == ("session", 1)
    assert "concurrency_id" not in reads.options
