"""What holds for all pages, in a real browser."""

from __future__ import annotations

import pytest
from browser_bench import WIDE, Workbench

from workbench.app import PAGES

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


def test_browser__asked_nobody_but_the_app(instances: Workbench) -> None:
    assert instances.hosts == {"127.0.0.1"}
    # three fonts, which FiftyOne's own page does without: docs/fiftyone.md
    assert instances.hosts_within <= {"127.0.0.1", "fonts.googleapis.com"}
