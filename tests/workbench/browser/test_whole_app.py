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


def test_browser__asked_nobody_but_the_app(instances: Workbench) -> None:
    assert instances.hosts == {"127.0.0.1"}
    # three fonts, which FiftyOne's own page does without: docs/fiftyone.md
    assert instances.hosts_within <= {"127.0.0.1", "fonts.googleapis.com"}
