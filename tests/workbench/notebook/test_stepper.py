from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image as PilImage

from workbench.notebook.shown import Captioned, Text, sheet
from workbench.notebook.stepper import Stepper


def grey(level: int, word: str) -> Captioned:
    return Captioned(np.full((20, 40, 3), level, dtype=np.uint8), f"{word} at {level}")


@pytest.fixture
def stepper() -> Stepper:
    return Stepper(grey, {"level": [10, 120, 250], "word": ["before", "after"]})


def shown_level(stepper: Stepper) -> int:
    data = re.search(r"base64,([^\"]+)", stepper.picture.value)
    assert data is not None
    picture = PilImage.open(io.BytesIO(base64.b64decode(data[1])))
    return int(np.asarray(picture).mean().round())


def test_stepper__shows_the_first_values(stepper: Stepper) -> None:
    assert stepper.values() == {"level": 10, "word": "before"}
    assert shown_level(stepper) == 10
    assert "before at 10" in stepper.picture.value


def test_stepper__moving_a_control_draws_anew(stepper: Stepper) -> None:
    stepper.controls["level"].value = 250
    assert shown_level(stepper) == 250
    stepper.controls["word"].value = "after"
    assert "after at 250" in stepper.picture.value


def test_stepper__walk_draws_every_value_and_comes_back(stepper: Stepper) -> None:
    # 10 is shown already: 120, 250, 10; then after, before
    assert stepper.walk() == 5
    assert stepper.values() == {"level": 10, "word": "before"}


def test_stepper__a_failing_picture_fails_where_the_control_is_moved() -> None:
    def draw(level: int) -> Captioned:
        if level:
            raise RuntimeError("no picture")
        return grey(0, "fine")

    stepper = Stepper(draw, {"level": [0, 1]})
    with pytest.raises(RuntimeError, match="no picture"):
        stepper.walk()


def test_stepper__numbers_slide_words_are_buttons_many_are_a_menu() -> None:
    stepper = Stepper(
        lambda **_: grey(0, ""),
        {"score": [0.5, 0.9], "row": ["m1", "m5"], "of_class": list("abcdef")},
        start={"score": 0.9},
    )
    kinds = [type(control).__name__ for control in stepper.controls.values()]
    assert kinds == ["SelectionSlider", "ToggleButtons", "Dropdown"]
    assert stepper.values()["score"] == 0.9


def test_stepper__refuses_a_control_without_values() -> None:
    with pytest.raises(ValueError, match="choices of level must not be empty"):
        Stepper(grey, {"level": [], "word": ["a"]})


def test_sheet__each_value_with_each(stepper: Stepper) -> None:
    still = stepper.sheet(level=[10, 250], word=["before", "after"])
    expected = "before at 10; after at 10; before at 250; after at 250"
    assert still.text == expected
    bundle = still._repr_mimebundle_()
    picture = PilImage.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"])))
    levels = np.asarray(picture.convert("L"))
    upper, lower = levels[: len(levels) // 2], levels[len(levels) // 2 :]
    assert (upper < 20).mean() > 0.5
    assert (lower < 20).mean() < 0.1
    assert bundle["text/plain"] == expected


def test_sheet__of_a_control_that_is_not_there(stepper: Stepper) -> None:
    with pytest.raises(ValueError, match="must be of level, word, got step"):
        stepper.sheet(step=[1])


def test_sheet__of_nothing() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        sheet([])


def test_captioned__words_of_a_file_name_are_no_markup() -> None:
    assert "<b>" not in Captioned(np.zeros((2, 2, 3), np.uint8), 'a <b> "c"').html()


def test_text__is_markdown_and_adds_up() -> None:
    both = Text("one") + Text("two")
    assert both._repr_mimebundle_() == {"text/markdown": "one\n\ntwo"}
    assert repr(both) == "one\n\ntwo"
