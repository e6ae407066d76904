from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from workbench.stores.background import Background, Progress, Tell


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_background__quick_work_is_there_at_once() -> None:
    made: list[str] = []
    assert Background(patience=20).ask("a", lambda tell: made.append("a")) is None
    assert made == ["a"]


def test_background__long_work_is_begun_once_and_told() -> None:
    go, begun, told = threading.Event(), [], threading.Event()

    def work(tell: Tell) -> None:
        begun.append(1)
        tell("student", 3, 10)
        told.set()
        go.wait(20)

    background = Background(patience=0)
    assert background.ask("a", work) == Progress()
    told.wait(20)
    assert background.ask("a", work) == Progress("student", 3, 10)
    go.set()
    wait_until(lambda: background.ask("a", work) is None)
    assert begun == [1]


def test_background__other_work_waits_for_its_turn() -> None:
    go, begun = threading.Event(), threading.Event()

    def first(tell: Tell) -> None:
        begun.set()
        go.wait(20)

    background, order = Background(patience=0), []
    background.ask("a", first)
    begun.wait(20)
    background.ask("b", lambda tell: order.append("b"))
    time.sleep(0.05)
    assert order == []
    assert background.ask("b", lambda tell: None) == Progress()
    go.set()
    wait_until(lambda: order == ["b"])


def test_background__an_error_is_raised_and_the_next_to_ask_tries_again() -> None:
    background, tried = Background(patience=20), []

    def work(tell: Tell) -> None:
        tried.append(1)
        if len(tried) == 1:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        background.ask("a", work)
    assert background.ask("a", work) is None


def test_background__what_nobody_asks_for_is_given_up_and_begun_anew() -> None:
    steps: list[int] = []

    def work(tell: Tell) -> None:
        for step in range(2000):
            tell("long", step, 2000)
            steps.append(step)
            time.sleep(0.01)

    background = Background(patience=0, unasked=(0.3, 0.3))
    background.ask("a", work)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "background"])
    assert 0 < len(steps) < 2000
    assert background.ask("a", work) == Progress()
    count = len(steps)
    wait_until(lambda: len(steps) > count)
    assert steps[count] == 0


def test_background__what_nobody_asks_for_makes_way_for_what_somebody_does() -> None:
    def for_ever(tell: Tell) -> None:
        while True:
            tell("long", 1, 2)
            time.sleep(0.01)

    background, done = Background(patience=0, unasked=(1000, 0.3)), []
    background.ask("a", for_ever)
    background.ask("b", lambda tell: done.append("b"))
    wait_until(lambda: done == ["b"])


def test_background__what_is_asked_for_goes_on() -> None:
    steps: list[int] = []

    def work(tell: Tell) -> None:
        for step in range(80):
            tell("long", step, 80)
            steps.append(step)
            time.sleep(0.01)

    background = Background(patience=0.02, unasked=(5, 5))
    wait_until(lambda: background.ask("a", work) is None)
    assert steps == list(range(80))
