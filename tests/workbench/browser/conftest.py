"""One app, one browser page and a run of each task, shared by all tests in a real browser.

Screenshots go to $WORKBENCH_SCREENSHOTS, or to pytest's temporary folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from browser_bench import ARGUMENTS, CHROMIUM, PATIENCE, Workbench, free_port


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """The app as it is without a run, and a browser on it."""
    from playwright.sync_api import expect, sync_playwright

    from uda4inst.toystreets.write import write_toystreets

    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium fonts-dejavu-core")
    folder = tmp_path_factory.mktemp("browser")
    shots = Path(os.environ.get("WORKBENCH_SCREENSHOTS", folder / "screenshots"))
    shots.mkdir(parents=True, exist_ok=True)
    write_toystreets(folder / "toystreets", train=24, val=6, workers=0)
    bench = Workbench(folder, free_port(), shots)
    bench.serve()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        bench.page = browser.new_page(viewport={"width": 1440, "height": 900})
        bench.page.set_default_timeout(PATIENCE)
        bench.page.on("request", bench.note_host)
        bench.open()
        bench.wait_for("#train-runs", "No run yet")
        bench.shoot("train_empty")
        yield bench
        browser.close()
    bench.stop()
    for child in psutil.process_iter(["cmdline"]):
        if str(bench.runs) in " ".join(child.info["cmdline"] or []):
            child.kill()


@pytest.fixture(scope="session")
def trained_instances(bench: Workbench) -> str:
    """A finished run of instance segmentation, started in the browser: its name."""
    bench.tab("train")
    bench.preset("toystreets_smoke")
    for key, value in (
        ("run.name", "first"),
        ("training.stage1_steps", 6),
        ("training.stage2_steps", 14),
        ("method.score_threshold", 0.3),
    ):
        bench.fill(key, value)
    bench.unfold("Training", "training-snapshot-every")
    bench.fill("training.snapshot_every", 2)
    bench.wait_for("#train-command", "training.snapshot_every=2")
    bench.page.locator("#train-start").click()
    bench.wait_for_trainer("#train-card", r"first\s*finished")
    return "first"


@pytest.fixture(scope="session")
def trained_pixels(bench: Workbench) -> str:
    """A finished run of semantic segmentation, started in the browser: its name."""
    bench.tab("train")
    bench.preset("toystreets_semantic_smoke")
    bench.fill("run.name", "pixels")
    bench.fill("training.stage2_steps", 16)
    bench.unfold("Training", "training-snapshot-every")
    bench.fill("training.snapshot_every", 4)
    bench.wait_for("#train-command", "training.snapshot_every=4")
    bench.page.locator("#train-start").click()
    bench.wait_for_trainer("#train-card", r"pixels\s*finished")
    return "pixels"


@pytest.fixture
def instances(bench: Workbench, trained_instances: str) -> Workbench:
    """The browser on the run of instance segmentation."""
    bench.on_run(trained_instances)
    return bench


@pytest.fixture
def pixels(bench: Workbench, trained_pixels: str) -> Workbench:
    """The browser on the run of semantic segmentation."""
    bench.on_run(trained_pixels)
    return bench
