"""The Mixing page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browser_bench import Workbench

pytestmark = pytest.mark.browser


def test_mixing__slider_walks_through_the_snapshots(instances: Workbench) -> None:
    instances.tab("mixing")
    instances.wait_for("#mixing-s2t-text", "were there")
    newest = instances.picture("mixing-s2t")
    instances.shoot("mixing")
    instances.page.locator("#mixing-previous").click()
    instances.wait_for_other_picture("mixing-s2t", newest)
    instances.wait_unchecked("#mixing-follow input")
    slider = instances.page.locator("#mixing-step input[type=range]")
    slider.press("Home")
    instances.wait_for("#mixing-s2t-text", "not made in stage 1")
    instances.wait_for("#mixing-facts", r"stage\s*1")
    instances.page.locator("#mixing-follow input").check()
    instances.wait_for("#mixing-s2t-text", "were there")
    instances.page.locator("#mixing-item input").nth(1).check()
    instances.wait_for_other_picture("mixing-s2t", newest)


def test_mixing__its_address_leads_to_what_is_looked_at(instances: Workbench) -> None:
    instances.open()  # on no group
    instances.on_run("first")
    instances.tab("mixing")
    instances.page.locator("#mixing-previous").click()
    instances.wait_unchecked("#mixing-follow input")
    instances.page.wait_for_url(re.compile(r"tab=mixing&run=first&step=\d+"))
    address = instances.page.url
    shown = instances.text("#mixing-facts")
    other = instances.page.context.browser.new_page()
    other.goto(address)
    other.locator("#mixing-facts").get_by_text("first").wait_for()
    other.wait_for_function(
        "shown => document.querySelector('#mixing-facts').innerText === shown", arg=shown
    )
    assert other.locator("#run input").input_value() == "first"
    other.goto(address.replace("run=first", "run=lost"))
    other.get_by_test_id("toast-text").get_by_text("run=lost: not here").wait_for()
    other.close()


@pytest.fixture
def damaged(instances: Workbench) -> Iterator[None]:
    """Damage the newest snapshot of the run, and mend it."""
    newest = max((instances.runs / "first" / "snapshots").glob("0*"))
    whole = (newest / "arrays.npz").read_bytes()
    for content in (b"no arrays", whole):
        (newest / "arrays.npz").write_bytes(content)
        (newest / "snapshot.json").touch()
        if content != whole:
            yield


@pytest.mark.usefixtures("damaged")
def test_mixing__damaged_snapshot_is_told_and_can_be_left(instances: Workbench) -> None:
    instances.open()
    instances.on_run("first")
    instances.tab("mixing")
    instances.wait_for("#mixing-notice", "must be readable")
    instances.shoot("mixing_damaged")
    instances.page.locator("#mixing-previous").click()
    instances.wait_for("#mixing-s2t-text", "were there")


def test_mixing__semantic_run_shows_the_classes_of_its_pixels(pixels: Workbench) -> None:
    pixels.tab("mixing")
    pixels.wait_for("#mixing-source-text", r"\d+ classes, \d+ % of the pixels labelled")
    pixels.wait_for("#mixing-classes", "road")
    pixels.wait_for_picture("mixing-source")
    pixels.wait_for_picture("mixing-target")
    pixels.wait_for("#mixing-facts", r"method\s*source_only")
    assert "threshold" not in pixels.text("#mixing-facts")
    pixels.wait_for("#mixing-s2t-text", "not made by this run's settings")
    pixels.wait_empty("#mixing-origins")
    pixels.shoot("mixing_semantic")
    newest = pixels.picture("mixing-source")
    pixels.page.locator("#mixing-marked input").uncheck()
    pixels.wait_for_other_picture("mixing-source", newest)
    pixels.page.locator("#mixing-marked input").check()
    pixels.page.locator("#mixing-previous").click()
    pixels.wait_for("#mixing-facts", "3 of 4 kept")
