"""The Data page in a real browser."""

from __future__ import annotations

import pytest
from browser_bench import Workbench

pytestmark = pytest.mark.browser


def test_data__images_labels_check_and_colours(instances: Workbench) -> None:
    bench, page = instances, instances.page
    bench.tab("data")
    bench.wait_for("#data-source-text", "1 of 24")
    bench.wait_for("#data-target-text", "labels are not opened")
    bench.wait_for("#data-shares", r"human-cycle[\s\S]*rare")
    bench.wait_for("#data-shares-basis", "24 images")
    bench.wait_for("#data-color-table", "L, lightness")
    bench.shoot("data")

    first = bench.picture("data-source-picture")
    page.locator("#data-source-next").click()
    bench.wait_for("#data-source-text", "2 of 24")
    bench.wait_for_other_picture("data-source-picture", first)
    second = bench.picture("data-source-picture")
    bench.click_quickly(*["#data-source-next"] * 5)
    bench.wait_for("#data-source-text", "7 of 24")
    bench.wait_for_other_picture("data-source-picture", second)
    seventh = bench.picture("data-source-picture")
    for left in ("split", "format"):  # opened, and left without a choice
        page.locator(f"#data-source-{left} input").press("Tab")
    page.wait_for_timeout(1500)
    bench.wait_for("#data-source-text", "7 of 24")
    page.locator("#data-overlay input[value=boxes]").check()
    bench.wait_for_other_picture("data-source-picture", seventh)
    page.locator("#data-target-random").click()
    bench.wait_for("#data-target-text", r"place\s*([2-9]|1\d|2\d) of 24")
    page.locator("#data-target-labels input").check()
    bench.wait_for("#data-target-text", r"instances\s*\d+")
    bench.wait_for("#data-shares-basis", "Cityscapes train")

    page.locator("#data-source-check").click()
    bench.wait_for("#data-source-report", "so far|sound")
    bench.open()
    bench.on_run("first")
    bench.tab("data")
    bench.wait_for("#data-source-report", r"sound\s*24 images")
    bench.shoot("data_checked")

    root = page.locator("#data-source-root :is(input, textarea)")
    good = root.input_value()
    root.fill(str(bench.data / "nowhere"))
    root.press("Enter")
    bench.wait_for("#data-source-notice", "root must be an UrbanSyn folder")
    bench.wait_for("#data-target-text", "1 of 24")
    bench.shoot("data_wrong_root")
    root.fill(good)
    root.press("Enter")
    bench.wait_for("#data-source-text", "1 of 24")


def test_data__a_choice_made_while_answers_are_on_their_way_stays(instances: Workbench) -> None:
    instances.open()
    instances.tab("data")
    instances.wait_for("#data-source-text", "1 of 24")
    instances.wait_for_picture("data-source-picture")
    before = instances.picture("data-source-picture")
    seen = instances.page.evaluate(
        """async () => {
          const chosen = () => document.querySelector('#data-overlay input:checked')?.value;
          const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
          for (let i = 0; i < 5; i++) {
            document.querySelector('#data-source-next').click();
            await wait(40);
          }
          document.querySelector('#data-overlay input[value=boxes]').click();
          const seen = [];
          for (const end = performance.now() + 4000; performance.now() < end; await wait(2))
            if (seen.at(-1) !== chosen()) seen.push(chosen());
          return seen;
        }"""
    )
    assert seen in (["boxes"], ["instances", "boxes"])  # Gradio takes a moment to mark it
    instances.wait_for("#data-source-text", "6 of 24")
    instances.wait_for_other_picture("data-source-picture", before)


def test_data__slider_stays_under_the_finger(instances: Workbench) -> None:
    instances.open()
    instances.tab("data")
    instances.wait_for("#data-source-text", "1 of 24")
    instances.wait_for_picture("data-source-picture")
    jumps = instances.page.evaluate(
        """async () => {
          const slider = document.querySelector('#data-source-position input[type=range]');
          const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
          const jumps = [];
          const watch = async (place, ms) => {
            for (const end = performance.now() + ms; performance.now() < end; await wait(5))
              if (Number(slider.value) !== place) jumps.push([place, Number(slider.value)]);
          };
          for (let place = 2; place <= 24; place++) {
            slider.value = place;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
            await watch(place, 100);
          }
          await watch(24, 4000);
          return jumps;
        }"""
    )
    assert jumps == []
    instances.wait_for("#data-source-text", "24 of 24")


def test_data__a_choice_made_before_the_page_is_drawn_counts(instances: Workbench) -> None:
    instances.open()
    instances.page.evaluate(
        """() => {
          document.querySelector('#page-data-button').click();
          const timer = setInterval(() => {
            const box = document.querySelector('#data-overlay input[value=none]');
            if (box) { clearInterval(timer); setTimeout(() => box.click(), 30); }
          }, 1);
        }"""
    )
    instances.wait_for("#data-source-text", "1 of 24")
    instances.page.wait_for_timeout(3000)
    assert instances.page.locator("#data-overlay input[value=none]").is_checked()
    assert not instances.text("#data-legend").strip()


def test_data__semantic_run_is_shown_as_it_learns(pixels: Workbench) -> None:
    pixels.open()
    pixels.on_run("pixels")
    pixels.tab("data")
    pixels.page.locator("#data-overlay input[value=semantic]:checked").wait_for()
    pixels.wait_for("#data-legend", r"road\s*sidewalk")
    pixels.wait_for_picture("data-source-picture")
    pixels.wait_for("#data-target-text", "labels are not opened")
    pixels.shoot("data_semantic")
    drawn = pixels.picture("data-source-picture")
    pixels.page.locator("#data-overlay input[value=instances]").check()
    pixels.wait_for_other_picture("data-source-picture", drawn)
