from __future__ import annotations

from collections.abc import Mapping

import pytest

from workbench.held import Held

LIST, SLIDER, PAGE = 1, 2, 3
Wanted = Mapping[int, Mapping[str, object]]


def drawn(held: Held, turn: int, **wanted: object) -> dict[str, object]:
    """Return what a drawing of the slider writes."""
    return written(held, {SLIDER: wanted}, turn)[SLIDER]


def written(held: Held, wanted: Wanted, turn: int = 0) -> dict[int, dict[str, object]]:
    """Return what a drawing of the page writes."""
    news = held.news(wanted, turn=turn, place=PAGE)
    assert news is not None
    return news[1]


def test_news__everything_at_first_and_nothing_twice() -> None:
    held = Held()
    wanted = {LIST: {"choices": ["a", "b"], "value": "a"}, SLIDER: {"value": 3, "maximum": 9}}
    assert held.news(wanted, turn=0, place=PAGE) == (1, wanted)
    assert held.news(wanted, turn=0, place=PAGE) == (2, {LIST: {}, SLIDER: {}})


def test_news__only_properties_that_are_others() -> None:
    held = Held()
    drawn(held, 0, value=3, maximum=9)
    assert drawn(held, 0, value=3, maximum=10) == {"maximum": 10}
    assert drawn(held, 0, value=4) == {"value": 4}
    assert drawn(held, 0, value=4, visible=False) == {"visible": False}


@pytest.mark.parametrize("value", [0, False, None, ""])
def test_news__a_value_that_is_nothing_is_news_once(value: object) -> None:
    held = Held()
    drawn(held, 0, value="a")
    assert drawn(held, 0, value=value) == {"value": value}
    assert drawn(held, 0, value=value) == {}


def test_news__of_a_list_with_other_choices_leaves_what_is_chosen() -> None:
    held = Held()
    written(held, {LIST: {"choices": ["a", "b"], "value": "a"}})
    assert written(held, {LIST: {"choices": ["a", "c"], "value": "a"}}) == {
        LIST: {"choices": ["a", "c"]}
    }


def test_choose__what_was_chosen_is_no_news() -> None:
    held = Held()
    drawn(held, 0, value=3)
    held.choose(SLIDER, 7, turn=1, drawing=1)
    assert drawn(held, 1, value=7) == {}
    assert drawn(held, 1, value=8) == {"value": 8}


def test_news__none_of_a_session_that_was_left_before_a_later_one_was_drawn() -> None:
    held = Held()
    assert drawn(held, 2, value=3) == {"value": 3}
    assert held.news({SLIDER: {"value": 4}}, turn=1, place=PAGE) is None
    assert held.news({LIST: {"value": "a"}}, turn=1, place=PAGE + 1) == (2, {LIST: {"value": "a"}})
    assert drawn(held, 2, value=4) == {"value": 4}


def test_choose__drawing_of_an_earlier_session_leaves_it_alone() -> None:
    held = Held()
    drawn(held, 0, value=3)
    held.choose(SLIDER, 7, turn=1, drawing=1)
    assert drawn(held, 0, value=4, maximum=5) == {}
    assert drawn(held, 1, value=7, maximum=5) == {"maximum": 5}


def test_choose__before_the_page_was_drawn() -> None:
    held = Held()
    held.choose(SLIDER, 7, turn=1, drawing=0)
    assert drawn(held, 0, value=3, maximum=9) == {}
    assert drawn(held, 1, value=7, maximum=9) == {"maximum": 9}


def test_choose__made_before_a_drawing_that_came_in_is_said_again() -> None:
    held = Held()
    drawn(held, 0, value=3)  # 1
    drawn(held, 0, value=4)  # 2, on its way as the choice is made on 1: it puts the slider back
    held.choose(SLIDER, 7, turn=1, drawing=1)
    assert drawn(held, 1, value=7) == {"value": 7}  # 3
    held.choose(SLIDER, 8, turn=2, drawing=3)
    assert drawn(held, 2, value=8) == {}


def test_choose__a_drawing_that_wrote_something_else_does_not_count() -> None:
    held = Held()
    drawn(held, 0, value=3)
    drawn(held, 0, value=3, maximum=9)
    held.choose(SLIDER, 7, turn=1, drawing=1)
    assert drawn(held, 1, value=7) == {}


def test_refuse__what_the_session_has_comes_back() -> None:
    held = Held()
    drawn(held, 4, value=3)
    held.choose(SLIDER, 700, turn=5, drawing=1)
    held.refuse(SLIDER, turn=4)
    assert drawn(held, 4, value=3) == {"value": 3}


def test_forget__everything_is_news_again() -> None:
    held = Held()
    drawn(held, 0, value=3)
    held.forget(SLIDER)
    held.forget(LIST)
    assert drawn(held, 0, value=3) == {"value": 3}
