"""The Results page in a real browser, on made-up suites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser_bench import WIDE, Workbench

pytestmark = pytest.mark.browser


def test_results__from_no_suite_to_its_files(
    bench: Workbench, tmp_path: Path, suite_factory: Any
) -> None:
    page, suites = bench.page, bench.suites
    bench.tab("results")
    bench.wait_for("#results-notice", "uda4inst suite table5")

    runs = [(f"{row}-seed0", "") for row in ("m1", "m2", "m3", "m4", "m5", "oracle")]
    values = {"m1": {0: 6.0}, "m5": {0: 9.0}, "oracle": {0: 12.0}}
    folder = suite_factory.write_suite(suites / "table5-toy", "table5", values, runs=runs)
    suite_factory.write_status(folder, "m2-seed0", state="failed", step=3, steps=9, error="no data")
    bench.wait_for("#results-table", r"M5[\s\S]*39\.0[\s\S]*9\.0[\s\S]*50 %")
    bench.wait_for("#results-runs", r"3 of 6 runs[\s\S]*no data")
    origin = page.locator("#results-notes details")
    by_class = page.locator("#results-classes details").first
    origin.locator("summary").click()
    by_class.locator("summary").focus()
    page.keyboard.press("Enter")
    suite_factory.write_finished(folder, "m3-seed0", 7.5)
    bench.wait_for("#results-runs", "4 of 6 runs")
    bench.wait_for("#results-table", r"7\.5")
    bench.wait_for("#results-classes", r"7\.5")
    assert origin.get_attribute("open") is not None
    assert by_class.get_attribute("open") is not None
    origin.locator("summary").click()
    suite_factory.write_finished(folder, "m4-seed0", 8.5)
    bench.wait_for("#results-classes", r"8\.5")
    assert origin.get_attribute("open") is None
    assert by_class.get_attribute("open") is not None
    bench.shoot("results")

    page.locator("#results-network input[value=teacher]").click()
    page.locator("#results-protocol input[value=coco]").click()
    bench.wait_for("#results-notes", "COCO protocol, teacher")
    name, text = bench.download("results-csv")
    assert name == "table5-toy-coco-teacher.csv"
    assert b"m5,M5,teacher,coco,AP,all,39.0,12.0" in text
    bench.wait_for("#results-chart", r"^\s*Figure\s*$")
    name, picture = bench.download("results-chart")
    assert name == "table5-toy-coco-teacher.png"
    assert picture.startswith(b"\x89PNG")

    other = suite_factory.write_suite(bench.data / "elsewhere" / "mine", "thresholds", values={})
    box = page.locator("#results-folder input")
    box.fill(str(other))
    box.press("Enter")
    bench.wait_for("#results-facts", "Score threshold of the pseudo-labels")
    box.fill(str(tmp_path))
    box.press("Enter")
    bench.wait_for("#results-notice", "must lie in one of the app's folders")
    box.fill(str(bench.data))
    box.press("Enter")
    bench.wait_for("#results-notice", r"must hold a readable suite\.yaml")
    bench.shoot("results_wrong_folder")
    box.fill(str(folder))
    box.press("Enter")
    bench.wait_for("#results-facts", "Table 5")
    looked_at = urlencode({"suite": folder, "protocol": "coco", "network": "teacher"})
    page.wait_for_url(re.compile(rf"tab=results.*&{re.escape(looked_at)}(&|$)"))
    other_page = page.context.browser.new_page()
    other_page.goto(page.url)
    other_page.locator("#results-notes").get_by_text("COCO protocol, teacher").first.wait_for()
    assert other_page.locator("#results-folder input").input_value() == str(folder)
    other_page.close()
    page.evaluate("document.body.classList.add('dark')")
    page.set_viewport_size({"width": 480, "height": 900})
    bench.shoot("results_narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 480
    page.set_viewport_size(WIDE)
    page.evaluate("document.body.classList.remove('dark')")


def test_results__semantic_suite_in_its_own_measures(bench: Workbench, suite_factory: Any) -> None:
    folder = suite_factory.write_suite(bench.suites / "semantic-toy", "semantic", {})
    suite_factory.write_semantic_finished(folder, "source_only-seed0", 0.2)
    suite_factory.write_semantic_finished(folder, "oracle-seed0", 0.3)
    bench.open()
    bench.tab("results")
    box = bench.page.locator("#results-folder input")
    box.fill(str(folder))
    box.press("Enter")
    bench.wait_for("#results-facts", "Semantic segmentation")
    bench.page.locator("#results-protocol input[value=pixels]").wait_for()
    bench.wait_for("#results-table", r"mIoU[\s\S]*w/o UDA[\s\S]*20\.0[\s\S]*30\.0")
    bench.wait_for("#results-charts", r"IoU and accuracy by class[\s\S]*vegetation")
    shown = "".join(bench.text(f"#results-{part}") for part in ("table", "charts", "classes"))
    assert not re.search(r"\bAP", shown), shown
    assert bench.page.locator("#results-charts .wb-bar-ours").count() > 2 * 2 * 18
    bench.shoot("results_semantic")
