from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from uda4inst.errors import UserError
from workbench.ui.views import (
    UNCHANGED,
    Empty,
    Frame,
    Framed,
    Updates,
    named,
    outcome_of,
    served,
)


@dataclass(frozen=True)
class Side:
    text: str
    picture: object


@dataclass(frozen=True)
class View:
    """Not in the order of its components."""

    right: Side
    title: str
    left: Side


@dataclass(frozen=True)
class HeadView:
    title: str


@dataclass(frozen=True)
class TitleView:
    """Some of the values of a view, such as what changes by itself."""

    title: str


@dataclass(frozen=True)
class Slot:
    picture: gr.Image
    text: gr.HTML


@dataclass(frozen=True)
class Parts:
    title: gr.HTML
    button: gr.Button
    left: Slot
    right: Slot


@dataclass(frozen=True)
class HeadParts:
    title: gr.HTML


@dataclass(frozen=True)
class Page:
    frame: Frame
    head: HeadParts
    parts: Parts


@pytest.fixture(scope="module")
def page(in_loop: Callable[[Callable[[], object]], object]) -> Page:
    def make() -> Page:
        with gr.Blocks():
            notice, body = Frame.open("x")
            head = HeadParts(gr.HTML())
            left, right = (Slot(gr.Image(), gr.HTML()) for _ in range(2))
            parts = Parts(gr.HTML(), gr.Button(), left, right)
            frame = Frame.of(notice, body, {HeadView: head, View: parts, TitleView: parts})
            return Page(frame, head, parts)

    made = in_loop(make)
    assert isinstance(made, Page)
    return made


VIEW = View(right=Side("r", None), title="t", left=Side("l", None))


def told(page: Page, updates: Updates) -> str:
    """Return the notice, which must be all that is on screen."""
    notice, body = updates[page.frame.notice], updates[page.frame.body]
    assert isinstance(notice, gr.HTML)
    assert isinstance(body, gr.Column)
    assert (notice.visible, body.visible) == (True, False)
    return str(notice.value)


def fail(error: Exception) -> Callable[[], View]:
    def view() -> View:
        raise error

    return view


def test_updates__values_go_to_the_components_of_their_names(page: Page) -> None:
    updates = page.frame.updates(VIEW)
    parts = page.parts
    assert updates[parts.title] == "t"
    assert (updates[parts.left.text], updates[parts.right.text]) == ("l", "r")
    assert parts.button not in updates
    assert page.head.title not in updates
    notice, body = updates[page.frame.notice], updates[page.frame.body]
    assert isinstance(notice, gr.HTML)
    assert isinstance(body, gr.Column)
    assert (notice.visible, body.visible) == (False, True)


def test_updates__a_smaller_view_leaves_the_rest_alone(page: Page) -> None:
    updates = page.frame.updates(TitleView("new"))
    assert updates[page.parts.title] == "new"
    assert page.parts.left.text not in updates


def test_updates__head_and_content_may_have_one_name_for_two_components(page: Page) -> None:
    updates = page.frame.updates(Framed(HeadView("above"), lambda: VIEW))
    assert (updates[page.head.title], updates[page.parts.title]) == ("above", "t")


def test_updates__are_all_among_the_outputs(page: Page) -> None:
    outputs = page.frame.outputs
    assert len(outputs) == len(set(outputs)) == 9
    for outcome in (VIEW, TitleView(""), UNCHANGED, Empty(""), Framed(HeadView(""), lambda: VIEW)):
        assert set(page.frame.updates(outcome)) <= set(outputs)


def test_updates__empty_hides_the_body(page: Page) -> None:
    updates = page.frame.updates(Empty("nothing yet"))
    assert told(page, updates) == "nothing yet"
    assert len(updates) == 2


def test_updates__unchanged_touches_nothing(page: Page) -> None:
    assert all(value == gr.skip() for value in page.frame.updates(UNCHANGED).values())


def test_updates__error_of_the_content_leaves_the_controls(page: Page) -> None:
    updates = page.frame.updates(Framed(HeadView("controls"), fail(UserError("broken"))))
    assert updates[page.head.title] == "controls"
    assert "broken" in told(page, updates)


def test_updates__pictures_are_sent_as_files(page: Page) -> None:
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    updates = page.frame.updates(View(right=Side("", picture), title="", left=Side("", None)))
    assert str(updates[page.parts.right.picture]).endswith("picture.png")
    assert updates[page.parts.left.picture] is None


@pytest.mark.parametrize("outcome", [Side("", None), "text"], ids=["dataclass", "text"])
def test_updates__a_view_of_another_page_is_refused(page: Page, outcome: object) -> None:
    with pytest.raises(TypeError, match="must be one of HeadView, View, TitleView, got"):
        page.frame.updates(outcome)


@dataclass(frozen=True)
class Misspelt:
    titel: str
    left: Side
    rihgt: Side


@dataclass(frozen=True)
class NotAComponent:
    left: str


def test_frame__names_without_a_component_stop_the_app_when_it_is_built(page: Page) -> None:
    frame, parts = page.frame, page.parts
    with pytest.raises(TypeError, match=r"none in Parts for titel, rihgt\.text, rihgt\.picture\."):
        Frame.of(frame.notice, frame.body, {Misspelt: parts})
    with pytest.raises(TypeError, match=r"every value of NotAComponent .* for left\."):
        Frame.of(frame.notice, frame.body, {NotAComponent: parts})


def test_named__nested_names_are_dotted(page: Page) -> None:
    names = named(View, page.parts)
    assert list(names) == ["right.text", "right.picture", "title", "left.text", "left.picture"]
    assert names["left.picture"] is page.parts.left.picture


def test_outcome_of__error_is_told_in_the_page() -> None:
    outcome = outcome_of(fail(UserError("snapshot must be <whole>")))
    assert isinstance(outcome, Empty)
    assert "snapshot must be &lt;whole&gt;" in outcome.message


def test_outcome_of__what_nobody_expected_is_told_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        outcome = outcome_of(fail(ZeroDivisionError("by zero")))
    assert isinstance(outcome, Empty)
    assert "ZeroDivisionError: by zero" in outcome.message
    assert "The run is not touched" in outcome.message
    assert caplog.records[0].exc_info is not None


def test_served__a_file_is_never_seen_cut_while_others_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    data = bytes(range(256)) * 8192
    path, ended = Path(served(data, "picture.png")), threading.Event()
    seen: set[int] = set()

    def look() -> None:
        while not ended.is_set():
            seen.add(len(path.read_bytes()))

    with ThreadPoolExecutor(5) as threads:
        looking = threads.submit(look)
        asked = [threads.submit(served, data, "picture.png") for _ in range(200)]
        assert {one.result() for one in asked} == {str(path)}
        ended.set()
        looking.result()
    assert seen == {len(data)}
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]
