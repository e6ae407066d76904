"""The Results page in a real browser, on a made-up suite.

Screenshots go to $WORKBENCH_SCREENSHOTS, or to pytest's temporary folder.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
# A shared machine may be slow; nothing here waits longer than it must.
PATIENCE = 60_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(),
        reason=f"{CHROMIUM} is missing: apt-get install chromium fonts-dejavu-core",
    ),
]


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    return tmp_path / "suites"


@pytest.fixture
def address(tmp_path: Path, suites: Path) -> Iterator[str]:
    """Serve the app as a user would and wait until it answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--suites", str(suites)]
    command += ["--runs", str(tmp_path / "runs"), "--data", str(tmp_path / "toystreets")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    deadline = time.monotonic() + PATIENCE / 1000
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=5):
                    break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert time.monotonic() < deadline, "the app does not answer"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/?__theme=light"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.locator("#page-results-button").click()
        yield page
        browser.close()


def wait_for(page: Any, selector: str, pattern: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_contain_text(re.compile(pattern))


def download(page: Any, button: str) -> tuple[str, bytes]:
    """Press a button and return name and content of the file it hands out."""
    with page.expect_download() as waiting:
        page.locator(f"#{button}:not([disabled])").click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def test_results__from_no_suite_to_its_files(
    page: Any, suites: Path, tmp_path: Path, suite_factory: Any
) -> None:
    shots = Path(os.environ.get("WORKBENCH_SCREENSHOTS", tmp_path / "screenshots"))
    shots.mkdir(parents=True, exist_ok=True)
    wait_for(page, "#results-notice", "uda4inst suite table5")

    runs = [(f"{row}-seed0", "") for row in ("m1", "m2", "m3", "m4", "m5", "oracle")]
    values = {"m1": {0: 6.0}, "m5": {0: 9.0}, "oracle": {0: 12.0}}
    folder = suite_factory.write_suite(suites / "table5-toy", "table5", values, runs=runs)
    suite_factory.write_status(folder, "m2-seed0", state="failed", step=3, steps=9, error="no data")
    wait_for(page, "#results-table", r"M5[\s\S]*39\.0[\s\S]*9\.0[\s\S]*50 %")
    wait_for(page, "#results-runs", r"3 of 6 runs[\s\S]*no data")
    suite_factory.write_finished(folder, "m3-seed0", 7.5)
    wait_for(page, "#results-runs", "4 of 6 runs")
    wait_for(page, "#results-table", r"7\.5")
    page.screenshot(path=shots / "results.png", full_page=True)

    page.locator("#results-network input[value=teacher]").click()
    page.locator("#results-protocol input[value=coco]").click()
    wait_for(page, "#results-notes", "COCO protocol, teacher")
    name, text = download(page, "results-csv")
    assert name == "table5-toy-coco-teacher.csv"
    assert b"m5,M5,teacher,coco,AP,all,39.0,12.0" in text
    wait_for(page, "#results-chart", r"^\s*Figure\s*$")
    name, picture = download(page, "results-chart")
    assert name == "table5-toy-coco-teacher.png"
    assert picture.startswith(b"\x89PNG")

    other = suite_factory.write_suite(tmp_path / "elsewhere" / "mine", "thresholds", values={})
    box = page.locator("#results-folder input")
    box.fill(str(other))
    box.press("Enter")
    wait_for(page, "#results-facts", "Score threshold of the pseudo-labels")
    box.fill(str(tmp_path))
    box.press("Enter")
    wait_for(page, "#results-notice", r"must hold a readable suite\.yaml")
    page.screenshot(path=shots / "results_wrong_folder.png")
    box.fill(str(folder))
    box.press("Enter")
    wait_for(page, "#results-facts", "Table 5")
    page.evaluate("document.body.classList.add('dark')")
    page.set_viewport_size({"width": 480, "height": 900})
    page.screenshot(path=shots / "results_narrow.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 480
