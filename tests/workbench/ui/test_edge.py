from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import gradio as gr
import pytest
from gradio.components import Component
from gradio.events import Dependency
from gradio.helpers import special_args

from uda4inst.errors import UserError
from workbench.session import SessionState
from workbench.ui.edge import Mounted, on_action
from workbench.ui.views import UNCHANGED, Frame, Updates, properties


@dataclass(frozen=True)
class View:
    title: str
    place: int


@dataclass(frozen=True)
class Parts:
    title: gr.HTML
    place: gr.Slider


@pytest.fixture(scope="module")
def parts(in_loop: Callable[[Callable[[], object]], object]) -> Parts:
    def make() -> Parts:
        with gr.Blocks():
            return Parts(gr.HTML(), gr.Slider())

    made = in_loop(make)
    assert isinstance(made, Parts)
    return made


@pytest.fixture(scope="module")
def frame(parts: Parts) -> Frame:
    return Frame.of(gr.HTML(), gr.Column(), {View: parts})


class Event:
    """Stands for `button.click`: keeps what is bound to it, and what is bound to its success.

    Args:
        control: the component it is an event of.
    """

    def __init__(self, control: Component | None = None) -> None:
        self.options: dict[str, object] = {}
        self.__self__ = control

    def __call__(self, handler: Callable[..., object], **options: object) -> Dependency:
        self.handler = handler
        self.options = options
        self.succeeded = Event()
        done = Dependency(None, {}, 0, None)
        vars(done)["success"] = self.succeeded
        return done

    def updates(self, *values: object) -> Updates:
        updates = self.handler(*values)
        assert isinstance(updates, dict)
        return updates

    def chosen(self, *values: object) -> SessionState:
        session = self.handler(*values)
        assert isinstance(session, SessionState)
        return session


def fail(error: Exception) -> Callable[[], object]:
    def view() -> object:
        raise error

    return view


def mounted(frame: Frame, show: Callable[..., object]) -> Mounted:
    return Mounted("pool", gr.State(SessionState()), frame, show, [], gr.Timer(active=False))


def bind_view(frame: Frame, view: Callable[[], object]) -> Callable[[], Updates]:
    event = Event()
    mounted(frame, lambda state: view()).on_input(event, "drawn")
    assert event.options["outputs"] == frame.outputs

    def draw() -> Updates:
        return event.updates(SessionState())

    return draw


def test_on_input__fills_the_frame_by_name(frame: Frame, parts: Parts) -> None:
    assert bind_view(frame, lambda: View("a", 3))()[parts.title] == "a"


def test_on_input__error_takes_the_place_of_the_body(frame: Frame, parts: Parts) -> None:
    updates = bind_view(frame, fail(UserError("file must be whole")))()
    notice, body = updates[frame.notice], updates[frame.body]
    assert isinstance(notice, gr.HTML)
    assert isinstance(body, gr.Column)
    assert "file must be whole" in str(notice.value)
    assert (notice.visible, body.visible) == (True, False)
    assert parts.title not in updates


class Place:
    """A page whose slider chooses an image, in a browser that is played here."""

    def __init__(self, frame: Frame, parts: Parts) -> None:
        self.slider = parts.place
        self.page = mounted(frame, lambda state: View("a", state.item))
        self.moved, self.next = Event(parts.place), Event()
        self.page.on_choice(self.moved, self._to, "place", inputs=[parts.place])
        self.page.on_choice(self.next, lambda state: state.on_item(state.item + 1), "next")
        self.session, self.drawing = SessionState(), 0

    @staticmethod
    def _to(state: SessionState, place: int) -> SessionState:
        if place > 9:
            raise UserError("place must be at most 9")
        return state.on_item(place)

    def move(self, place: int) -> None:
        self.session = self.moved.chosen(self.session, place, self.drawing)

    def go_on(self) -> None:
        self.session = self.next.chosen(self.session, self.drawing)

    def draw(self, session: SessionState) -> dict[str, object]:
        """Return what a drawing does to the slider; it reaches the browser."""
        updates = self.next.succeeded.updates(session)
        drawing = updates[self.page.frame.drawing]
        assert isinstance(drawing, int)
        self.drawing = drawing
        return properties(updates[self.slider])


@pytest.fixture
def place(frame: Frame, parts: Parts) -> Place:
    made = Place(frame, parts)
    assert made.draw(made.session) == {"value": 0}
    return made


def test_on_choice__its_drawing_leaves_the_control_alone(place: Place) -> None:
    place.move(7)
    assert place.session.item == 7
    assert place.draw(place.session) == {}


def test_on_choice__another_control_that_it_changes_is_written(place: Place) -> None:
    place.go_on()
    assert place.draw(place.session) == {"value": 1}


def test_on_choice__drawing_of_an_earlier_one_does_not_put_it_back(place: Place) -> None:
    place.go_on()
    earlier = place.session
    place.move(7)
    assert place.draw(earlier) == {}
    assert place.draw(place.session) == {}


def test_on_choice__drawing_of_an_earlier_one_that_took_longer_draws_nothing(place: Place) -> None:
    place.go_on()
    earlier = place.session
    place.go_on()
    assert place.draw(place.session) == {"value": 2}
    drawing = place.page.frame.drawing
    assert place.next.succeeded.updates(earlier) == {drawing: gr.skip()}
    assert place.draw(place.session) == {}


def test_on_choice__a_control_put_back_while_it_was_chosen_is_written_again(place: Place) -> None:
    place.go_on()
    seen = place.drawing
    place.draw(place.session)
    place.drawing = seen  # not in the browser yet as the slider is moved
    place.move(7)
    assert place.draw(place.session) == {"value": 7}


def test_on_choice__a_refused_one_is_put_back(place: Place) -> None:
    with pytest.raises(gr.Error, match="place must be at most 9"):
        place.move(12)
    assert place.draw(place.session) == {"value": 0}


def test_on_choice__an_emptied_box_beside_a_slider_chooses_nothing(place: Place) -> None:
    place.move(7)
    place.draw(place.session)
    before = place.session
    place.session = place.moved.chosen(place.session, None, place.drawing)
    assert place.session == before
    assert place.draw(place.session) == {}


def test_on_choice__another_run_forgets_nothing_of_it(place: Place) -> None:
    place.move(7)
    place.session = place.session.on_run("other")
    assert place.draw(place.session) == {"value": 0}
    assert place.draw(place.session) == {}


def test_on_choice__a_parameter_that_has_a_default_keeps_it(frame: Frame) -> None:
    def choose(state: SessionState, value: str, key: str = "run") -> SessionState:
        return replace(state, **{key: value})

    event = Event()
    name = gr.Textbox()
    mounted(frame, lambda state: UNCHANGED).on_choice(event, choose, "choose", inputs=[name])
    given = special_args(event.handler, [SessionState(), "b", 0])[0]
    assert event.chosen(*given).run == "b"


def test_on_choice__of_an_event_alone_gets_what_it_was_on(frame: Frame) -> None:
    def pick(state: SessionState, event: gr.EventData) -> SessionState:
        return state.on_run(getattr(event, "run", None))

    event = Event()
    mounted(frame, lambda state: UNCHANGED).on_choice(event, pick, "pick")
    given = special_args(
        event.handler, [SessionState(), 0], event_data=gr.EventData(None, {"run": "b"})
    )[0]
    assert event.chosen(*given).run == "b"


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
