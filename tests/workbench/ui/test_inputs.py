from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from gradio.components import Component

from uda4inst.errors import UserError
from workbench.ui.edge import on_action
from workbench.ui.inputs import checked


@pytest.fixture(scope="module")
def parts(in_loop: Callable[[Callable[[], Any]], Any]) -> dict[str, Component]:
    def make() -> dict[str, Component]:
        with gr.Blocks():
            return {
                "text": gr.Textbox(label="Folder"),
                "html": gr.HTML(elem_id="shares"),
                "number": gr.Number(label="Seed"),
                "slider": gr.Slider(0, 1, label="Threshold"),
                "switch": gr.Checkbox(label="Follow"),
                "one": gr.Dropdown(["a"], label="Preset"),
                "radio": gr.Radio([1, 2], label="Item"),
                "several": gr.Dropdown(["a"], multiselect=True, label="Classes"),
            }

    return in_loop(make)


GOOD = [("text", "x"), ("html", "<b>" * 100_000), ("number", 2), ("slider", 0.5), ("switch", True)]
GOOD += [("one", "a"), ("one", 450), ("radio", 1), ("several", ["a", "b"]), ("several", [])]
BAD = [
    ("text", ["x"], "Folder must be a text of at most 20,000 letters, or a number, got list"),
    ("text", "x" * 20_001, "Folder must be a text"),
    ("text", True, "Folder must be a text"),
    ("html", {"a": 1}, "shares must be text, got dict"),
    ("html", "x" * (4 * 2**20 + 1), "shares must be text"),
    ("number", "2", "Seed must be a finite number, got str"),
    ("number", True, "Seed must be a finite number"),
    ("slider", float("nan"), "Threshold must be a finite number"),
    ("slider", float("inf"), "Threshold must be a finite number"),
    ("switch", 1, "Follow must be yes or no"),
    ("one", {"path": "/etc/passwd"}, "Preset must be a text"),
    ("radio", [1], "Item must be a text"),
    ("several", "a", "Classes must be a list of at most 200 choices"),
    ("several", [["a"]], "Classes must be a list"),
    ("several", ["a"] * 201, "Classes must be a list"),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_checked__what_a_component_holds(
    parts: dict[str, Component], name: str, value: object
) -> None:
    assert checked([parts[name]], [value, "more"]) == [value, "more"]
    assert checked([parts[name]], [None]) == [None]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_checked__what_it_cannot_hold(
    parts: dict[str, Component], name: str, value: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        checked([parts[name]], [value])


def test_on_action__handler_never_sees_what_its_component_cannot_hold(
    parts: dict[str, Component],
) -> None:
    bound: list[Any] = []
    seen: list[object] = []
    on_action(
        lambda handler, **options: bound.append(handler),  # type: ignore[arg-type]
        seen.append,
        name="act",
        inputs=[parts["number"]],
    )
    with pytest.raises(gr.Error, match="Seed must be a finite number"):
        bound[0]("rm")
    assert seen == []
    bound[0](3)
    assert seen == [3]
