"""The button that opens FiftyOne, pressed in a real browser, with the real FiftyOne behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import inspection
import psutil
import pytest
from browser_bench import ROOT, Workbench, free_port

inspection.require_database()

pytestmark = pytest.mark.browser

_START = 180_000.0  # milliseconds; FiftyOne alone takes 20 s on free cores
_TILE = '[data-cy="looker"]'


def sessions(bench: Workbench) -> list[psutil.Process]:
    """Return the processes of the app's sessions, with FiftyOne's servers and its database."""
    assert bench.process is not None
    return psutil.Process(bench.process.pid).children(recursive=True)


def close_session(bench: Workbench) -> None:
    """Close the one session there is, and wait until it has ended."""
    bench.page.locator("#fiftyone button").first.click()
    bench.page.locator("#fiftyone-sessions [data-close]").click()
    bench.page.locator("#fiftyone").wait_for(state="hidden", timeout=_START)


def test_fiftyone__opened_from_the_data_page_looked_at_and_closed(bench: Workbench) -> None:
    page = bench.page
    bench.open()
    bench.tab("data")
    bench.wait_for("#data-source-text", "1 of 24")
    page.locator("#data-fiftyone").click()
    bench.wait_for("#data-fiftyone-status", "starting|Adding images: ")
    bench.shoot("fiftyone_building")
    bench.tab("train")  # other pages go on meanwhile
    bench.tab("data")
    page.locator("#data-fiftyone-status a").first.wait_for(timeout=_START)
    bench.wait_for("#data-fiftyone-status", "class car")
    bench.wait_for("#fiftyone", "1 open")
    bench.shoot("fiftyone_open")
    link = page.locator("#data-fiftyone-status a", has_text="rare-class images")
    with page.context.expect_page() as opened:
        link.click()
    grid = opened.value
    grid.wait_for_selector(_TILE)
    grid.screenshot(path=bench.shots / "fiftyone_view.png")
    grid.close()
    page.locator("#data-fiftyone-status .wb-fiftyone-frame summary").click()
    page.frame_locator("#data-fiftyone-status iframe").locator(_TILE).first.wait_for()
    bench.shoot("fiftyone_frame")

    running = sessions(bench)
    assert "mongod" in [process.name() for process in running]
    close_session(bench)
    _, left = psutil.wait_procs(running, timeout=inspection.PATIENCE)
    assert left == []
    bench.wait_hidden("#data-fiftyone-status")


def test_fiftyone__a_semantic_run_opened_from_error_maps_shows_the_class_that_is_picked(
    pixels: Workbench,
) -> None:
    bench, page = pixels, pixels.page
    bench.open()
    bench.on_run("pixels")
    bench.tab("error_maps")
    bench.choose("error-maps-class", "vegetation")
    bench.wait_for("#error-maps-title-a", r"evaluated images\s*IoU")
    page.locator("#error-maps-fiftyone").click()
    status = page.locator("#error-maps-fiftyone-status")
    picked = status.locator("a").first
    picked.wait_for(timeout=_START)
    assert "iou_pixels_student_16: errors of vegetation" in picked.inner_text()
    bench.wait_for("#error-maps-fiftyone-status", r"images by error\s*6")
    with page.context.expect_page() as opened:
        picked.click()
    grid = opened.value
    grid.wait_for_selector(_TILE)
    for field in ("run_pixels_student_16_wrong", "iou_pixels_student_16_mIoU"):
        grid.get_by_text(field, exact=True).first.wait_for()
    grid.screenshot(path=bench.shots / "fiftyone_semantic.png")
    grid.close()
    close_session(bench)


def test_fiftyone__a_mistake_is_one_message_on_the_page(bench: Workbench) -> None:
    page = bench.page
    bench.open()
    bench.tab("data")
    root = page.locator("#data-source-root :is(input, textarea)")
    good = root.input_value()
    root.fill(str(bench.data / "nowhere"))
    root.press("Enter")
    bench.wait_for("#data-source-notice", "root must be an UrbanSyn folder")
    page.locator("#data-fiftyone").click()
    page.locator("#data-fiftyone-status .wb-problem").wait_for(timeout=_START)
    bench.wait_for("#data-fiftyone-status", "root must be an UrbanSyn folder")
    bench.shoot("fiftyone_failed")
    page.locator("#fiftyone button").first.click()
    page.locator("#fiftyone-sessions [data-close]").click()
    bench.wait_hidden("#fiftyone")
    root.fill(good)
    root.press("Enter")
    bench.wait_for("#data-source-text", "1 of 24")


_WITHOUT = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec.__func__
def find_others(cls, name, path=None, target=None):
    return None if name == "fiftyone" else find(cls, name, path, target)
PathFinder.find_spec = classmethod(find_others)
"""


@pytest.fixture
def without_fiftyone(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workbench]:
    """Another app, in whose Python FiftyOne cannot be found, in the same browser."""
    (tmp_path / "sitecustomize.py").write_text(_WITHOUT)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    other = Workbench(bench.folder, free_port(), bench.shots, page=bench.page)
    other.serve()
    yield other
    other.stop()


def test_fiftyone__where_it_is_not_installed_the_button_says_how(
    without_fiftyone: Workbench,
) -> None:
    page = without_fiftyone.page
    without_fiftyone.open()
    without_fiftyone.tab("data")
    without_fiftyone.wait_for("#data-source-text", "1 of 24")
    page.locator("#data-fiftyone").click()
    page.get_by_text("must have FiftyOne, got an installation without it").wait_for()
    page.get_by_text("make venv", exact=False).first.wait_for()
    without_fiftyone.shoot("fiftyone_missing")
    assert page.locator("#data-fiftyone").is_enabled()
    without_fiftyone.wait_hidden("#fiftyone")
