"""The workbench in a real browser, on a real run that the browser starts.

Screenshots go to $WORKBENCH_SCREENSHOTS, or to pytest's temporary folder.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from workbench.app import PAGES

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
# A shared machine may be slow; nothing here waits longer than it must.
PATIENCE = 60_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(),
        reason=f"{CHROMIUM} is missing: apt-get install chromium fonts-dejavu-core",
    ),
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Workbench:
    """A served app and the one page that looks at it."""

    runs: Path
    data: Path
    port: int
    shots: Path
    process: subprocess.Popen[bytes] | None = None
    page: Any = None
    hosts: set[str] = field(default_factory=set)

    def serve(self) -> None:
        """Start the app as a user would and wait until it answers."""
        self.process = subprocess.Popen(
            (sys.executable, "app.py", *self.options()),
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/config", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        raise TimeoutError("the app does not answer")

    def options(self) -> list[str]:
        values = {"--port": self.port, "--runs": self.runs, "--data": self.data}
        return [str(word) for pair in values.items() for word in pair]

    def stop(self) -> None:
        """End the app the hard way."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def open(self) -> None:
        self.page.goto(f"http://127.0.0.1:{self.port}/?__theme=light")
        self.page.wait_for_selector("#page-train-button")

    def note_host(self, url: str) -> None:
        """Remember whom the page asked; what it carries in itself asks nobody."""
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(url).hostname or url)

    def tab(self, name: str) -> None:
        self.page.locator(f"#page-{name}-button").click()
        part = name.replace("_", "-")
        self.page.locator(f"#{part}-body:visible, #{part}-notice:visible").first.wait_for()

    def fill(self, key: str, value: object) -> None:
        box = self.page.locator(
            f"#field-{key.replace('.', '-').replace('_', '-')} :is(input, textarea)"
        )
        box.fill(str(value))
        box.press("Tab")

    def shoot(self, name: str) -> None:
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.wb-picture img')].every(i => i.complete)"
        )
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def wait_for(self, selector: str, pattern: str) -> None:
        """Wait until an element's text matches a pattern."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_contain_text(re.compile(pattern))

    def picture(self, element: str) -> str:
        """Return the address of a picture on screen; another picture has another one."""
        return self.page.locator(f"#{element} img").get_attribute("src")

    def wait_for_other_picture(self, element: str, than: str) -> None:
        self.page.wait_for_function(
            "([e, old]) => { const i = document.querySelector(`#${e} img`);"
            " return i && i.src !== old && i.complete; }",
            arg=[element, than],
        )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    from playwright.sync_api import expect, sync_playwright

    from uda4inst.toystreets.write import write_toystreets

    folder = tmp_path_factory.mktemp("browser")
    shots = Path(os.environ.get("WORKBENCH_SCREENSHOTS", folder / "screenshots"))
    shots.mkdir(parents=True, exist_ok=True)
    write_toystreets(folder / "toystreets", train=24, val=6, workers=0)
    bench = Workbench(folder / "runs", folder / "toystreets", free_port(), shots)
    bench.serve()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        bench.page = browser.new_page(viewport={"width": 1400, "height": 900})
        bench.page.set_default_timeout(PATIENCE)
        bench.page.on("request", lambda request: bench.note_host(request.url))
        bench.open()
        yield bench
        browser.close()
    bench.stop()
    for child in psutil.process_iter(["cmdline"]):
        if str(bench.runs) in " ".join(child.info["cmdline"] or []):
            child.kill()


@pytest.fixture(scope="module")
def trained(workbench: Workbench) -> Workbench:
    """A run started, paused, resumed and finished in the browser."""
    bench, page = workbench, workbench.page
    bench.wait_for("#train-runs", "No run yet")
    bench.shoot("train_empty")
    page.locator("#train-preset input").click()
    page.get_by_role("option", name="toystreets_smoke").click()
    bench.wait_for("#train-command", "toystreets_smoke")
    for key, value in (
        ("run.name", "first"),
        ("training.stage1_steps", 6),
        ("training.stage2_steps", 14),
        ("method.score_threshold", 0.3),
    ):
        bench.fill(key, value)
    page.get_by_role("button", name=re.compile("^Training")).click()
    bench.fill("training.snapshot_every", 2)
    bench.wait_for("#train-command", "training.snapshot_every=2")
    page.locator("#train-start").click()
    bench.wait_for("#train-card", "first")
    return bench


@pytest.fixture(scope="module")
def finished(trained: Workbench) -> Workbench:
    bench = trained
    bench.tab("train")
    bench.wait_for("#run-line", "finished")
    bench.wait_for("#train-card", "finished")
    return bench


def test_train__run_started_in_the_browser_obeys(trained: Workbench) -> None:
    page = trained.page
    trained.wait_for("#train-card", "running|paused")
    page.locator("#train-pause").click()
    trained.wait_for("#train-card .wb-chip >> nth=0", "paused")
    trained.shoot("train_paused")
    page.locator("#train-resume:not([disabled])").click()
    trained.wait_for("#train-card .wb-chip >> nth=0", "running|finished")


def test_train__app_may_die_and_come_back(trained: Workbench) -> None:
    trained.stop()
    trained.serve()
    trained.open()
    trained.wait_for("#train-runs", "first")
    trained.wait_for("#run-line", "running|finished")


def test_train__finished_run_shows_everything(finished: Workbench) -> None:
    finished.wait_for("#train-curves", "s2t/class")
    finished.wait_for("#train-curves", "Pseudo-labels kept per batch")
    finished.wait_for("#train-figures", "of 20")
    finished.wait_for("#train-log", "step 20")
    row = finished.text("#train-runs tbody tr")
    assert re.search(r"first\s+finished\s+uda4inst\s+20 / 20\s+\d+\.\d\s+\d+\.\d", row), row
    assert finished.page.locator("#train-pause").is_disabled()
    finished.shoot("train")


def test_train__wrong_values_are_told_and_nothing_starts(finished: Workbench) -> None:
    page = finished.page
    finished.tab("train")
    finished.fill("run.name", "a/b")
    finished.wait_for("#train-command", r"run\.name must be letters")
    page.locator("#train-start").click()
    page.get_by_text("run.name must be letters").nth(1).wait_for()
    finished.shoot("train_wrong_name")
    finished.fill("run.name", "first")
    finished.wait_for("#train-command", "'first' exists already")
    finished.fill("run.name", "second")
    finished.fill("method.score_threshold", 2)
    finished.wait_for("#train-command", r"method\.score_threshold must be less than or equal to 1")
    finished.fill("method.score_threshold", 0.3)
    finished.wait_for("#train-command", "uda4inst train")
    assert sorted(p.name for p in finished.runs.glob("[!.]*")) == ["first"]


def test_mixing__slider_walks_through_the_snapshots(finished: Workbench) -> None:
    finished.tab("mixing")
    finished.wait_for("#mixing-s2t-text", "were there")
    newest = finished.picture("mixing-s2t")
    finished.shoot("mixing")
    finished.page.locator("#mixing-previous").click()
    finished.wait_for_other_picture("mixing-s2t", newest)
    assert not finished.page.locator("#mixing-follow input").is_checked()
    slider = finished.page.locator("#mixing-step input[type=range]")
    slider.press("Home")
    finished.wait_for("#mixing-s2t-text", "not made in stage 1")
    finished.wait_for("#mixing-facts", r"stage\s*1")
    finished.page.locator("#mixing-follow input").check()
    finished.wait_for("#mixing-s2t-text", "were there")
    finished.page.locator("#mixing-item input").nth(1).check()
    finished.wait_for_other_picture("mixing-s2t", newest)


def test_pool__contents_at_the_chosen_snapshot(finished: Workbench) -> None:
    finished.tab("pool")
    finished.wait_for("#pool-body", "rare classes")
    finished.shoot("pool")
    cards = finished.page.locator(".wb-pool-card")
    if cards.count():
        assert re.search(r"entered at step \d+", cards.first.inner_text())
    else:
        finished.wait_for("#pool-cards", "The pool is empty")


def test_pseudo_labels__slider_keeps_and_drops(finished: Workbench) -> None:
    def kept() -> int:
        return int(finished.text("#pseudo-labels-table tbody tr:last-child td:nth-child(2)"))

    finished.tab("pseudo_labels")
    box = finished.page.locator("#pseudo-labels-threshold input[type=number]")
    counts = []
    for threshold in ("0.05", "0.99"):
        box.fill(threshold)
        box.press("Tab")
        finished.wait_for("#pseudo-labels-curve .wb-mark-strong + text", rf"^{threshold}$")
        counts.append(kept())
        finished.shoot(f"pseudo_labels_{threshold}")
    assert counts[0] > counts[1]
    finished.page.locator("#pseudo-labels-reset").click()
    finished.wait_for("#pseudo-labels-curve", r"0\.3")
    finished.shoot("pseudo_labels")


def test_error_maps__class_order_and_second_side(finished: Workbench) -> None:
    page = finished.page
    finished.tab("error_maps")
    finished.wait_for("#error-maps-title-a", "px wrong")
    finished.wait_for("#error-maps-facts", "1 of 6")
    first = finished.picture("error-maps-errors-a")
    page.locator("#error-maps-next").click()
    finished.wait_for("#error-maps-facts", "2 of 6")
    finished.wait_for_other_picture("error-maps-errors-a", first)
    page.locator("#error-maps-class input").click()
    page.get_by_role("option", name="car", exact=True).click()
    finished.wait_for("#error-maps-facts", r"class\s*car")
    page.locator("#error-maps-other-run input").click()
    page.get_by_role("option", name="first", exact=True).click()
    # Its own controls come with it: a choice made before they have is theirs to overwrite.
    finished.wait_for("#error-maps-title-b", "teacher")
    networks = page.locator("#error-maps-other-network")
    networks.locator("input[value=teacher]:checked").wait_for()
    networks.locator("input[value=student]").click()
    finished.wait_for("#error-maps-title-b", r"student")
    finished.shoot("error_maps")


def test_pages__damaged_snapshot_is_told_and_can_be_left(finished: Workbench) -> None:
    newest = max((finished.runs / "first" / "snapshots").glob("0*"))
    (newest / "arrays.npz").write_bytes(b"no arrays")
    (newest / "snapshot.json").touch()
    finished.open()
    finished.tab("mixing")
    finished.wait_for("#mixing-notice", "must be readable")
    finished.shoot("mixing_damaged")
    finished.page.locator("#mixing-previous").click()
    finished.wait_for("#mixing-s2t-text", "were there")


def test_train__stopped_restarted_and_killed(finished: Workbench) -> None:
    page = finished.page
    chip = "#train-card .wb-chip >> nth=0"
    finished.tab("train")
    finished.fill("run.name", "victim")
    finished.fill("training.stage1_steps", 5000)
    finished.wait_for("#train-command", "victim")
    page.locator("#train-start").click()
    finished.wait_for(chip, "running")
    page.locator("#train-stop:not([disabled])").click()
    finished.wait_for(chip, "stopped")
    page.locator("#train-restart:not([disabled])").click()
    finished.wait_for(chip, "running")
    pid = int(re.findall(r'"pid": (\d+)', (finished.runs / "victim/status.json").read_text())[0])
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    finished.wait_for(chip, "dead")
    assert time.monotonic() - killed < 10
    finished.wait_for("#train-card", "no longer runs")
    finished.shoot("train_dead")


def test_data__images_labels_check_and_colours(workbench: Workbench) -> None:
    bench, page = workbench, workbench.page
    page.set_viewport_size({"width": 1440, "height": 900})
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
    page.locator("#data-overlay input[value=boxes]").check()
    bench.wait_for_other_picture("data-source-picture", second)
    page.locator("#data-target-random").click()
    bench.wait_for("#data-target-text", r"place\s*([2-9]|1\d|2\d) of 24")
    page.locator("#data-target-labels input").check()
    bench.wait_for("#data-target-text", r"instances\s*\d+")
    bench.wait_for("#data-shares-basis", "Cityscapes train")

    page.locator("#data-source-check").click()
    bench.wait_for("#data-source-report", "so far|sound")
    bench.open()
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
    page.set_viewport_size({"width": 1400, "height": 900})


def test_groups__started_watched_and_looked_at_one_by_one(workbench: Workbench) -> None:
    bench, page = workbench, workbench.page
    page.set_viewport_size({"width": 1440, "height": 900})
    bench.open()
    bench.fill("method.groups", "three")
    bench.wait_for("#train-command", "method.groups must be one of one, table4_2")
    page.locator("#train-preset input").click()
    page.get_by_role("option", name="toystreets_smoke").click()
    bench.wait_for("#train-command", "toystreets_smoke")
    if not page.locator("#field-training-snapshot-every input").is_visible():
        page.get_by_role("button", name=re.compile("^Training")).click()
    for key, value in (
        ("run.name", "groups"),
        ("method.groups", "two"),
        ("training.stage1_steps", 14),
        ("training.stage2_steps", 4),
        ("training.snapshot_every", 1),
        ("method.score_threshold", 0.3),
    ):
        bench.fill(key, value)
    bench.wait_for("#train-command", "method.groups=two")
    page.locator("#train-start").click()
    bench.wait_for("#train-card", "of 36 steps of all groups")
    # Paused, so that the second group still waits when it is looked at.
    page.locator("#train-pause:not([disabled])").click()
    bench.wait_for("#train-groups", r"person, rider, motorcycle, bicycle\s*paused")
    bench.wait_for("#train-groups", r"car, truck, bus, train\s*waiting")
    bench.shoot("groups_paused")
    page.locator("#train-groups [data-group=car-truck-bus-train]").click()
    bench.wait_for("#train-group", "car, truck, bus, train")
    bench.tab("mixing")
    bench.wait_for("#mixing-notice", "waits for its turn")
    choose_group(bench, "person, rider, motorcycle, bicycle")
    bench.wait_for("#mixing-facts", r"category group\s*person, rider")
    people = bench.picture("mixing-source")
    bench.tab("train")
    page.locator("#train-resume:not([disabled])").click()
    bench.wait_for("#train-groups", r"person, rider, motorcycle, bicycle\s*finished")
    bench.wait_for("#run-line", "finished")
    bench.tab("mixing")
    choose_group(bench, "car, truck, bus, train")
    bench.wait_for_other_picture("mixing-source", people)
    bench.wait_for("#mixing-facts", r"category group\s*car, truck")
    bench.shoot("groups_mixing")
    bench.tab("train")
    bench.wait_for("#train-card", "36 of 36 steps")
    bench.wait_for("#train-curves", "truck")
    bench.shoot("groups_train")
    row = bench.text("#train-runs tbody tr.wb-chosen")
    assert re.search(r"groups\s+finished\s+uda4inst, 2 groups\s+36 / 36\s+\d+\.\d", row), row
    bench.tab("error_maps")
    assert not page.locator("#group").is_visible()
    bench.wait_for("#error-maps-title-a", r"category group\s*all groups")
    page.locator("#error-maps-group input").click()
    page.get_by_role("option", name="car, truck, bus, train", exact=True).click()
    bench.wait_for("#error-maps-title-a", r"category group\s*car, truck")
    bench.wait_for("#error-maps-facts", r"all of this group \(car, truck")
    bench.shoot("groups_error_maps")
    page.set_viewport_size({"width": 1400, "height": 900})


def choose_group(bench: Workbench, text: str) -> None:
    """Choose a category group in the header."""
    bench.page.locator("#group input").click()
    bench.page.get_by_role("option", name=text, exact=True).click()


@pytest.mark.parametrize("name", [page for page in PAGES if page != "results"])
def test_pages__narrow_and_dark(finished: Workbench, name: str) -> None:
    finished.tab(name)
    finished.page.evaluate("document.body.classList.add('dark')")
    finished.shoot(f"{name}_dark")
    finished.page.set_viewport_size({"width": 480, "height": 900})
    wide = finished.page.evaluate("document.documentElement.scrollWidth")
    finished.shoot(f"{name}_narrow")
    finished.page.set_viewport_size({"width": 1400, "height": 900})
    finished.page.evaluate("document.body.classList.remove('dark')")
    assert wide <= 480


def test_browser__asked_nobody_but_the_app(finished: Workbench) -> None:
    assert finished.hosts == {"127.0.0.1"}
