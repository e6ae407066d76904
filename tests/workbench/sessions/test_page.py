"""FiftyOne's page in a real browser: pictures with their masks, a saved view by its address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import inspection
import pytest

inspection.require_database()

from browser_bench import ARGUMENTS, CHROMIUM, PATIENCE

from workbench.sessions.data_session import DataSession, open_data_session
from workbench.sessions.request import request_tree
from workbench.sessions.serve import address_of, free_port, serving

pytestmark = pytest.mark.inspection

_TILE = '[data-cy="looker"]'
_FONTS = "fonts.googleapis.com"  # which the page does without where it cannot be reached


@pytest.fixture(scope="module")
def session(toy: Path) -> DataSession:
    return open_data_session(request_tree("urbansyn", toy / "urbansyn"))


@pytest.fixture(scope="module")
def port(session: DataSession) -> Iterator[int]:
    with serving(session.dataset, None) as number:
        yield number


@pytest.fixture(scope="module")
def hosts() -> set[str]:
    """The machines that the page asked for something."""
    return set()


@pytest.fixture(scope="module")
def page(hosts: set[str]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium fonts-dejavu-core")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: hosts.add(str(urlsplit(request.url).hostname)))
        yield page
        browser.close()


def shoot(page: Any, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("WORKBENCH_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"fiftyone_{name}.png")


def test_page__shows_every_image(
    session: DataSession, port: int, page: Any, hosts: set[str], tmp_path: Path
) -> None:
    page.goto(address_of(session.dataset, port))
    page.wait_for_selector(_TILE)
    page.get_by_text("8 samples").wait_for()
    page.get_by_text("Dismiss").click()  # an advertisement, once a browser
    shoot(page, tmp_path, "grid")
    page.locator(_TILE).first.click()
    page.locator('[data-cy="modal"]').get_by_text("rgb_0001", exact=True).wait_for()
    shoot(page, tmp_path, "sample")
    assert hosts <= {"127.0.0.1", _FONTS}


def test_page__opens_on_a_saved_view(
    session: DataSession, port: int, page: Any, tmp_path: Path
) -> None:
    page.goto(address_of(session.dataset, port, "rare-class images"))
    page.wait_for_selector(_TILE)
    page.get_by_text(f"{session.summary['views']['rare-class images']} samples").wait_for()
    shoot(page, tmp_path, "view")


def test_free_port__refuses_one_in_use(port: int) -> None:
    from uda4inst.errors import UserError

    with pytest.raises(UserError, match="--port must be free"):
        free_port(port)
    assert free_port(None) != port
