"""The Error maps page in a real browser."""

from __future__ import annotations

import re

import pytest
from browser_bench import Workbench

pytestmark = pytest.mark.browser


def test_error_maps__class_order_and_second_side(instances: Workbench) -> None:
    page = instances.page
    instances.tab("error_maps")
    instances.wait_for("#error-maps-title-a", "px wrong")
    instances.wait_for("#error-maps-facts", "1 of 6")
    first = instances.picture("error-maps-errors-a")
    page.locator("#error-maps-next").click()
    instances.wait_for("#error-maps-facts", "2 of 6")
    instances.wait_for_other_picture("error-maps-errors-a", first)
    for control in ("run", "error-maps-step", "error-maps-class", "error-maps-other-run"):
        page.locator(f"#{control} input").focus()
        page.keyboard.press("Tab")  # on to the next, without a choice
    page.wait_for_timeout(1500)
    instances.wait_for("#error-maps-facts", "2 of 6")
    instances.choose("error-maps-class", "car")
    instances.wait_for("#error-maps-facts", r"class\s*car")
    instances.choose("error-maps-other-run", "first")
    # Its own controls come with it: a choice made before they have is theirs to overwrite.
    instances.wait_for("#error-maps-title-b", "teacher")
    networks = page.locator("#error-maps-other-network")
    networks.locator("input[value=teacher]:checked").wait_for()
    networks.locator("input[value=student]").click()
    instances.wait_for("#error-maps-title-b", r"student")
    instances.shoot("error_maps")


def test_error_maps__its_address_leads_to_what_is_looked_at(instances: Workbench) -> None:
    instances.open()
    instances.on_run("first")
    instances.tab("error_maps")
    instances.wait_for("#error-maps-facts", "1 of 6")
    instances.choose("error-maps-class", "car")
    instances.choose("error-maps-other-run", "first")
    instances.wait_for("#error-maps-title-b", "teacher")
    instances.page.locator("#error-maps-other-network input[value=student]").click()
    instances.wait_for("#error-maps-title-b", "student")
    instances.page.locator("#error-maps-next").click()
    instances.wait_for("#error-maps-facts", "2 of 6")
    instances.page.wait_for_url(
        re.compile(r"tab=error-maps&run=first&b_run=first&b_network=student&class=car&image=2(&|$)")
    )
    parts = [f"#error-maps-{name}" for name in ("facts", "title-a", "title-b")]
    shown = [instances.text(part) for part in parts]
    other = instances.page.context.browser.new_page()
    other.goto(instances.page.url)
    other.wait_for_function(
        "([parts, shown]) => parts.every("
        "(part, i) => document.querySelector(part)?.innerText === shown[i])",
        arg=[parts, shown],
    )
    assert other.locator("#error-maps-class input").input_value() == "car"
    other.goto(f"{instances.page.url}&threshold=0.75")
    other.locator("#error-maps-facts").get_by_text("0.75").wait_for()
    assert other.locator("#error-maps-threshold input[type=number]").input_value() == "0.75"
    other.goto(f"{instances.page.url}&threshold=2")
    other.get_by_test_id("toast-text").get_by_text("threshold=2: not here").wait_for()
    other.close()


def test_error_maps__semantic_run_is_judged_pixel_by_pixel(pixels: Workbench) -> None:
    pixels.open()
    pixels.on_run("pixels")
    pixels.tab("error_maps")
    pixels.wait_for("#error-maps-title-a", r"px wrong, [\d,]+ right")
    pixels.wait_for(
        "#error-maps-title-a",
        r"evaluated images\s*mIoU \d+\.\d \(Cityscapes pixel protocol, student, step 16, 6 of 6 im",
    )
    assert " AP" not in pixels.text("#error-maps-title-a")
    pixels.wait_for("#error-maps-facts", r"void, not judged\s*road")
    pixels.wait_hidden("#error-maps-threshold")
    for picture in ("prediction-a", "errors-a", "truth"):
        pixels.wait_for_picture(f"error-maps-{picture}")
    pixels.wait_for("#error-maps-confusions", r"Of the [\d,]+ pixels of .* were called")
    pixels.wait_for("#error-maps-confusions", r"all 6 evaluated images of Cityscapes val")
    pixels.shoot("error_maps_semantic")
    everything = pixels.picture("error-maps-errors-a")
    pixels.choose("error-maps-class", "vegetation")
    pixels.wait_for("#error-maps-title-a", r"\d invented, [\d,]+ missed\)")
    pixels.wait_for("#error-maps-title-a", r"evaluated images\s*IoU \d+\.\d")
    pixels.wait_for_other_picture("error-maps-errors-a", everything)
    pixels.wait_for("#error-maps-confusions", r"vegetation")
    assert "pixels of road" not in pixels.text("#error-maps-confusions")


def test_error_maps__images_of_a_list(instances: Workbench) -> None:
    bench, page = instances, instances.page
    bench.open()
    bench.on_run("first")
    bench.tab("error_maps")
    bench.wait_for("#error-maps-facts", "1 of 6")
    name = page.locator("#error-maps-facts b").first.inner_text()
    listed, strangers = bench.data / "one.txt", bench.data / "strangers.txt"
    listed.write_text(f"{name}\n")
    strangers.write_text("nobody\n")
    box = page.locator("#error-maps-images input")
    box.fill(str(strangers))
    box.press("Enter")
    bench.wait_for("#error-maps-notice", "must name images of the data set.*got 'nobody'")
    box.fill(str(listed))
    box.press("Enter")
    bench.wait_for("#error-maps-facts", "1 of 1")
    bench.shoot("error_maps_list")
    box.fill("all images")
    box.press("Enter")
    bench.wait_for("#error-maps-facts", "1 of 6")
