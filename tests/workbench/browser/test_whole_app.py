"""What holds for all pages, in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from browser_bench import WIDE, Workbench

from workbench.app import PAGES
from workbench.header import HEADER_SECONDS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", [page for page in PAGES if page != "results"])
def test_pages__narrow_and_dark(instances: Workbench, name: str) -> None:
    instances.tab(name)
    instances.page.evaluate("document.body.classList.add('dark')")
    instances.shoot(f"{name}_dark")
    instances.page.set_viewport_size({"width": 480, "height": 900})
    wide = instances.page.evaluate("document.documentElement.scrollWidth")
    instances.shoot(f"{name}_narrow")
    instances.page.set_viewport_size(WIDE)
    instances.page.evaluate("document.body.classList.remove('dark')")
    assert wide <= 480


_COUNTED = """() => new Promise(told => {
    const seen = [], began = performance.now();
    const look = () => {
        for (const part of document.querySelectorAll('[data-testid="status-tracker"]'))
            if (part.innerText.trim() && part.checkVisibility()) seen.push(part.innerText);
        performance.now() - began < 7000 ? requestAnimationFrame(look) : told(seen);
    };
    look();
})"""


def test_pages__nothing_is_counted_while_they_refresh_themselves(bench: Workbench) -> None:
    bench.open()
    bench.tab("data")
    assert bench.page.evaluate(_COUNTED) == []


@pytest.fixture
def newer(instances: Workbench) -> Iterator[str]:
    """The name of a run that is not there yet: the browser may add it, newer than all others."""
    yield "newer"
    instances.on_run("first")
    shutil.rmtree(instances.runs / "newer", ignore_errors=True)


def add_run(bench: Workbench, name: str) -> None:
    shutil.copytree(bench.runs / "first", bench.runs / name)
    os.utime(bench.runs / name / "config.yaml")


def test_lists__open_one_stays_and_a_closed_one_gets_what_is_new(
    instances: Workbench, newer: str
) -> None:
    page = instances.page
    box, options = page.locator("#run input"), page.locator("#run [role=option]")
    box.click()
    options.first.wait_for()
    # What was asked for before the list was open may still come, and add what is new by then.
    page.wait_for_timeout((HEADER_SECONDS + 1) * 1000)
    before = options.all_inner_texts()
    add_run(instances, newer)
    page.wait_for_timeout((2 * HEADER_SECONDS + 1) * 1000)
    assert options.all_inner_texts() == before
    box.press("Tab")
    instances.wait_for_gone("#run [role=option]")
    page.wait_for_timeout((2 * HEADER_SECONDS + 1) * 1000)
    box.click()
    assert options.all_inner_texts() == [newer, *before]
    box.press("Tab")


# A line of an open list becomes another, and a press that was aimed at the former one arrives.
_PRESSES = """async ([name, pause]) => {
    const line = [...document.querySelectorAll('#run [role=option]')]
        .find(one => one.getAttribute('aria-label') === name);
    line.setAttribute('aria-label', 'another');
    line.setAttribute('aria-label', name);
    await new Promise(done => setTimeout(done, pause));
    return line.dispatchEvent(new MouseEvent('mousedown', {bubbles: true, cancelable: true}));
}"""


def test_lists__press_on_lines_that_have_just_changed_chooses_nothing(
    instances: Workbench, newer: str
) -> None:
    page = instances.page
    instances.tab("train")
    add_run(instances, newer)
    page.wait_for_timeout((2 * HEADER_SECONDS + 1) * 1000)
    page.locator("#run input").click()
    page.locator("#run [role=option]").first.wait_for()
    page.evaluate(_PRESSES, [newer, 0])
    page.wait_for_timeout(2000)
    assert page.locator("#run input").input_value() == "first"
    assert page.locator("#run [role=option]").count() > 1  # still open
    page.evaluate(_PRESSES, [newer, 600])
    instances.wait_for_value("#run input", newer)
    instances.wait_for("#train-card", newer)


# Another line moves a table's lines down, and a press that was aimed at what stood there arrives.
_TABLE_PRESSES = """async ([name, pause]) => {
    const line = document.querySelector(`#train-runs [data-run="${name}"]`);
    const row = line.closest('tr');
    const above = row.cloneNode(true);
    above.querySelector('[data-run]').dataset.run = 'above';
    row.before(above);
    await new Promise(done => setTimeout(done, pause));
    for (const kind of ['mousedown', 'mouseup', 'click'])
        line.dispatchEvent(new MouseEvent(kind, {bubbles: true, cancelable: true, detail: 1}));
    above.remove();
}"""


def test_tables__press_on_lines_that_have_just_moved_chooses_nothing(
    instances: Workbench, newer: str
) -> None:
    page = instances.page
    instances.tab("train")
    instances.wait_for("#train-card h3", "first")
    add_run(instances, newer)
    page.locator(f"#train-runs [data-run={newer}]").wait_for()
    page.evaluate(_TABLE_PRESSES, [newer, 0])
    page.wait_for_timeout(2 * HEADER_SECONDS * 1000)
    assert page.locator("#train-card h3").inner_text() == "first"
    page.evaluate(_TABLE_PRESSES, [newer, 600])
    instances.wait_for("#train-card h3", newer)


def test_browser__asked_nobody_but_the_app(instances: Workbench) -> None:
    assert instances.hosts == {"127.0.0.1"}
    # three fonts, which FiftyOne's own page does without: docs/fiftyone.md
    assert instances.hosts_within <= {"127.0.0.1", "fonts.googleapis.com"}
