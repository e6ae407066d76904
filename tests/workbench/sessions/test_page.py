"""FiftyOne's page in a real browser: pictures with their masks, a saved view by its address."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import inspection
import pytest

inspection.require_database()

import numpy as np
from browser_bench import ARGUMENTS, CHROMIUM, PATIENCE
from mini_network import TINY_MINI
from random_detections import draw

from uda4inst.data.readers import Cityscapes
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.coco import write_results
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.layout import RunDir
from workbench.sessions.data_session import DataSession, open_data_session
from workbench.sessions.embedding_session import open_embedding_session
from workbench.sessions.foreign import open_foreign_session
from workbench.sessions.library import fo
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


def test_page__whole_after_a_view_is_the_whole(session: DataSession, port: int, page: Any) -> None:
    page.goto(address_of(session.dataset, port, "class car"))
    page.get_by_text(f"{session.summary['views']['class car']} samples").wait_for()
    page.goto("about:blank")
    page.goto(address_of(session.dataset, port))
    page.get_by_text("8 samples").wait_for()


def test_serving__its_own_state_is_told_before_pages_open(
    session: DataSession, port: int, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del port  # the session of the other tests stays
    client = fo.core.session.client
    told: list[float] = []

    def late(address: str) -> None:
        ping(address)
        time.sleep(4)
        told.append(time.monotonic())

    ping = client._ping
    monkeypatch.setattr(client, "_ping", late)
    with serving(session.dataset, None) as number:
        assert told
        page.goto(address_of(session.dataset, number, "class car"))
        count = f"{session.summary['views']['class car']} samples"
        page.get_by_text(count).wait_for()
        page.wait_for_timeout(1000)
        assert page.get_by_text(count).count() == 1
        assert page.url.endswith("?view=class-car")


def open_panel(page: Any, name: str) -> None:
    """Open a panel beside the samples of a fresh page."""
    page.wait_for_selector(_TILE)
    if (advertisement := page.locator(".MuiPopover-root")).count():
        advertisement.get_by_role("button", name="Dismiss").click()
    page.locator('[data-cy="new-panel-btn"]').first.click()
    page.get_by_text(name, exact=True).first.click()


def shows(place: Any) -> bool:
    """Whether something appears within a few seconds."""
    from playwright.sync_api import TimeoutError as WaitedTooLong

    try:
        place.wait_for(timeout=10_000)
    except WaitedTooLong:
        return False
    return True


def test_page__evaluation_panel_shows_our_ap(
    toy: Path, port: int, page: Any, tmp_path: Path
) -> None:
    tree, rng = Cityscapes(toy / "cityscapes", "val"), np.random.default_rng(0)
    write_results(tmp_path / "drawn.json", [draw(tree, i, rng) for i in range(len(tree))])
    request = request_tree("cityscapes", toy / "cityscapes", split="val")
    session = open_foreign_session([tmp_path / "drawn.json"], request)
    page.goto(address_of(session.dataset, port))
    open_panel(page, "Model Evaluation")
    page.get_by_text("ap_file_drawn_json", exact=True).last.click()
    ap = evaluate_predictions(tmp_path / "drawn.json", tree)["cityscapes"]["AP"]
    summary = page.get_by_text("Summary", exact=True).first
    summary.wait_for()  # else a slow machine would fold what it was about to show
    if not shows(page.get_by_text("mAP", exact=True)):  # its part of the panel may be folded
        summary.click()
    page.get_by_text(f"{ap:.3f}", exact=True).first.wait_for()
    shoot(page, tmp_path, "evaluation")


def test_page__a_lasso_on_the_map_leaves_its_images(
    grouped_run: RunDir, port: int, page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
    dataset = open_embedding_session(grouped_run, limit=8, method="pca").dataset
    page.goto(address_of(dataset, port))
    open_panel(page, "Embeddings")
    page.get_by_text("student_3_person_rider").first.click()
    page.get_by_text(f"{len(dataset)} points").wait_for()
    page.get_by_text("Color by").click()
    page.get_by_text("domain", exact=True).last.click()
    page.get_by_text("S2T", exact=True).wait_for()
    page.get_by_text("Select", exact=True).click()
    boxes = [canvas.bounding_box() for canvas in page.locator("canvas").all()]
    box = max((b for b in boxes if b), key=lambda b: b["width"] * b["height"])
    corners = ((0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99), (0.01, 0.01))
    for number, (right, down) in enumerate(corners):
        page.mouse.move(box["x"] + right * box["width"], box["y"] + down * box["height"], steps=8)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    words = page.get_by_text(" selected · ").text_content()
    selected = int(words.split()[0])
    assert 0 < selected < len(dataset)
    page.get_by_text(f"{selected} samples").first.wait_for()
    shoot(page, tmp_path, "map")
    page.keyboard.press("Backquote")  # the button hides beside an open panel
    page.keyboard.type("Export as image list")
    page.keyboard.press("Enter")
    page.get_by_text(f"Shown ({selected})").wait_for()
    shoot(page, tmp_path, "export")


def test_free_port__refuses_one_in_use(port: int) -> None:
    from uda4inst.errors import UserError

    with pytest.raises(UserError, match="--port must be free"):
        free_port(port)
    assert free_port(None) != port
