"""The queue of the Train page in a real browser, with real trainings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import yaml
from browser_bench import Workbench

from uda4inst.training.config import load_config
from workbench.jobs.queue import queue_path

pytestmark = pytest.mark.browser

STATE = "#train-card .wb-chip >> nth=0"


def start(bench: Workbench, name: str, *, seed: int) -> None:
    """Start a run that does not end by itself; of the same content it would be a second click."""
    bench.fill("run.name", name)
    bench.fill("seed", seed)
    bench.wait_for("#train-command", f"seed={seed} run.name={name}( |$)")
    bench.page.locator("#train-start").click()
    bench.wait_for("#train-card h3", name)


@pytest.fixture(scope="module")
def busy(bench: Workbench) -> Iterator[Workbench]:
    """The browser on an app where one run is at work and two wait.

    It is paused: it has its place, and leaves the cores to what is tested.
    """
    bench.tab("train")
    bench.preset("toystreets_smoke")
    bench.fill("training.stage1_steps", 5000)
    bench.wait_for("#train-command", "training.stage1_steps=5000")
    start(bench, "at_work", seed=1)
    bench.wait_for(STATE, "running")
    bench.page.locator("#train-pause:not([disabled])").click()
    bench.wait_for(STATE, "paused")
    for seed, name in enumerate(("second", "third"), start=2):
        start(bench, name, seed=seed)
        bench.wait_for(STATE, "queued")
    yield bench
    queue_path(bench.runs).unlink(missing_ok=True)  # else the next begins as these end
    for child in psutil.process_iter(["cmdline"]):
        words = " ".join(child.info["cmdline"] or [])
        if str(bench.runs) in words and ("train" in words or "resume" in words):
            child.kill()


def pick(bench: Workbench, name: str) -> None:
    """Choose a run in the table when its lines have stood as long as it takes to see them."""
    bench.page.wait_for_timeout(600)
    bench.page.locator(f'#train-runs [data-run="{name}"]').click()
    bench.wait_for("#train-card h3", name)


def rows(bench: Workbench) -> list[str]:
    """Return name and state of the first rows of the run table."""
    lines = bench.page.locator("#train-runs tbody tr").all_inner_texts()
    return [re.sub(r"\s+", " ", line) for line in lines]


def test_queue__one_trains_and_the_others_say_their_place(busy: Workbench) -> None:
    busy.wait_for("#train-card", "place 2 of 2 in the queue")
    found = rows(busy)
    assert found[0].startswith("second queued 1")
    assert found[1].startswith("third queued 2")
    assert any(row.startswith("at_work paused") for row in found)
    assert busy.page.locator("#train-pause").is_hidden()
    assert not (busy.runs / "third").joinpath("status.json").exists()
    busy.shoot("train_queue")


def test_queue__order_is_changed_and_outlives_the_app(busy: Workbench) -> None:
    busy.page.locator("#train-earlier").click()
    busy.wait_for("#train-card", "place 1 of 2 in the queue")
    busy.die_and_come_back()
    busy.wait_for("#train-runs", r"third\s*queued\s*1")
    assert rows(busy)[0].startswith("third queued 1")
    assert any(row.startswith("at_work paused") for row in rows(busy))


def test_start__in_the_moment_after_a_change_takes_what_is_chosen(busy: Workbench) -> None:
    page, held = busy.page, list[Any]()

    def hold(route: Any) -> None:
        asked = route.request.post_data_json or {}
        if asked.get("data") == [None, "toystreets_semantic_smoke"]:  # the session, the preset
            held.append(route)  # the callback that fills the form is slow today
        else:
            route.continue_()

    busy.preset("toystreets_smoke")
    page.route("**/queue/join*", hold)
    busy.choose("train-preset", "toystreets_semantic_smoke")
    # The form still shows the values of the preset before.
    assert page.locator("#field-method-score-threshold").is_visible()
    page.locator("#train-start").click()
    busy.wait_for("#train-card h3", "toystreets_semantic_smoke")
    busy.wait_for("#train-card", "place 3 of 3 in the queue")
    assert held
    wanted = busy.runs / ".queue" / "toystreets_semantic_smoke" / "wanted.yaml"
    config = yaml.safe_load(wanted.read_text())
    assert config["model"]["preset"] == load_config("toystreets_semantic_smoke").model.preset
    for route in held:
        route.continue_()
    page.unroute("**/queue/join*")
    busy.wait_for("#train-command", "uda4inst train toystreets_semantic_smoke")


def test_queue__cancelled_and_begun_at_once(busy: Workbench) -> None:
    page = busy.page
    for name in ("toystreets_semantic_smoke", "second"):
        pick(busy, name)
        page.locator("#train-cancel").click()
        busy.wait_for_gone(f'#train-runs [data-run="{name}"]')
    assert not (busy.runs / ".queue" / "second").exists()
    pick(busy, "third")
    page.locator("#train-begin").click()
    busy.wait_for(STATE, "running")
    assert any(row.startswith("at_work paused") for row in rows(busy))
    busy.shoot("train_queue_begun")


def test_queue__the_next_begins_when_one_ends(busy: Workbench) -> None:
    page = busy.page
    busy.preset("toystreets_smoke")
    busy.fill("training.stage1_steps", 5000)
    busy.wait_for("#train-command", "training.stage1_steps=5000")
    start(busy, "fourth", seed=4)
    busy.wait_for(STATE, "queued")
    page.locator("#train-at-once input").fill("2")
    for name in ("at_work", "third"):
        pick(busy, name)
        page.locator("#train-stop:not([disabled])").click()
        busy.wait_for(STATE, "stopped")
    pick(busy, "fourth")
    busy.wait_for("#train-card", r"fourth\s*running")
    page.locator("#train-stop:not([disabled])").click()
    busy.wait_for(STATE, "stopped")


def test_runs__the_last_of_quick_clicks_counts(busy: Workbench) -> None:
    third, fourth = (f'#train-runs [data-run="{name}"]' for name in ("third", "fourth"))
    busy.click_quickly(*[fourth, third] * 4)
    busy.page.wait_for_timeout(1500)
    busy.wait_for("#train-card h3", "third")
    busy.click_quickly(*[third, fourth] * 4)
    busy.page.wait_for_timeout(1500)
    busy.wait_for("#train-card h3", "fourth")


def test_runs__a_click_is_not_lost_when_the_table_is_drawn_anew_under_it(busy: Workbench) -> None:
    page = busy.page
    pick(busy, "fourth")
    page.locator('#train-runs [data-run="third"]').hover()
    page.mouse.down()
    page.evaluate(
        "() => document.querySelectorAll('#train-runs [data-run]')"
        ".forEach(row => row.replaceWith(row.cloneNode(true)))"
    )
    page.mouse.up()
    busy.wait_for("#train-card h3", "third")
