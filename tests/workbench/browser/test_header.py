"""The header's lists in a real browser, while answers are on their way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser_bench import Workbench

from workbench.header import HEADER_SECONDS

pytestmark = pytest.mark.browser

PEOPLE, VEHICLES = "person, rider, motorcycle, bicycle", "car, truck, bus, train"


def _number_of(page: Any, event: str) -> int:
    """Return Gradio's number of an event."""
    (number,) = page.evaluate(
        "name => window.gradio_config.dependencies"
        ".filter(one => one.api_name === name).map(one => one.id)",
        event,
    )
    return number


def _asks(page: Any, event: str) -> Callable[[Any], bool]:
    """Return whether a request is of an event."""
    number = _number_of(page, event)

    def whether(request: Any) -> bool:
        return "/queue/join" in request.url and request.post_data_json["fn_index"] == number

    return whether


class Late:
    """Choices of one kind, kept from the app from now on until they are let through.

    Gradio's lists say what was chosen twice: at once, and as they are left.
    """

    def __init__(self, page: Any, event: str) -> None:
        self._kept: list[tuple[object, Any]] = []
        self._number = _number_of(page, event)
        page.route("**/queue/join*", self._keep)

    def _keep(self, route: Any) -> None:
        asked = route.request.post_data_json
        if asked["fn_index"] == self._number:
            self._kept.append((asked["data"][1], route))
        else:
            route.continue_()

    def arrive(self, choice: str | None = None) -> None:
        """Let through what was chosen, or all."""
        through = [route for chosen, route in self._kept if choice in (chosen, None)]
        assert through
        for route in through:
            route.continue_()


@pytest.fixture
def with_runs(bench: Workbench, factories: Any) -> Iterator[Workbench]:
    """The browser on the first of two runs of category groups, with one more."""
    names = ("grouped", "more", "others")
    factories.write_run(bench.runs, "more")
    factories.write_run(bench.runs, "others")
    factories.write_grouped_run(bench.runs, "grouped")
    bench.open()
    bench.on_run("grouped")
    yield bench
    bench.page.unroute("**/queue/join*")
    for name in names:
        shutil.rmtree(bench.runs / name)
    bench.open()


def shown(bench: Workbench, element: str, seconds: float) -> list[str]:
    """Return what a list shows one after the other."""
    seen: list[str] = []
    for _ in range(round(seconds * 20)):
        value = bench.page.locator(f"#{element} input").input_value()
        if seen[-1:] != [value]:
            seen.append(value)
        bench.page.wait_for_timeout(50)
    return seen


def test_group__choice_on_its_way_is_not_put_back(with_runs: Workbench) -> None:
    bench = with_runs
    bench.tab("mixing")
    bench.wait_for_value("#group input", PEOPLE)
    choices = Late(bench.page, "app_choose_group")
    bench.choose("group", VEHICLES)
    assert shown(bench, "group", 2 * HEADER_SECONDS) == [VEHICLES]
    choices.arrive("car-truck-bus-train")
    bench.page.wait_for_function("location.search.includes('group=car')")
    assert shown(bench, "group", HEADER_SECONDS) == [VEHICLES]


def test_run__the_second_of_quick_choices_is_not_put_back(with_runs: Workbench) -> None:
    bench = with_runs
    choices = Late(bench.page, "app_choose_run")
    bench.choose("run", "more")
    bench.choose("run", "others")
    choices.arrive("more")
    assert shown(bench, "run", HEADER_SECONDS) == ["others"]
    choices.arrive("others")
    bench.page.wait_for_function("location.search.includes('run=others')")
    assert shown(bench, "run", HEADER_SECONDS) == ["others"]


def test_tabs__the_one_opened_last_stays_when_the_one_before_arrives_later(
    with_runs: Workbench,
) -> None:
    bench = with_runs
    bench.tab("mixing")
    bench.page.wait_for_function("location.search.includes('tab=mixing')")
    late = Late(bench.page, "app_open_pool")
    bench.page.locator("#page-pool-button").click()
    bench.tab("train")
    bench.page.wait_for_function("location.search.includes('tab=train')")
    with bench.page.expect_request(_asks(bench.page, "pool_show_opened")):
        late.arrive()  # the page it asks for is drawn once it has been answered
    assert "tab=train" in bench.page.url
    with bench.page.expect_request(_asks(bench.page, "train_tick")):
        pass  # the page on screen is still refreshed
