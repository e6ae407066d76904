"""The Train page in a real browser, on runs that the browser starts."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from browser_bench import Workbench

pytestmark = pytest.mark.browser

STATE = "#train-card .wb-chip >> nth=0"


@pytest.fixture(scope="module")
def long(bench: Workbench) -> Workbench:
    """The browser on a run that does not end by itself."""
    bench.tab("train")
    bench.preset("toystreets_smoke")
    bench.fill("run.name", "victim")
    bench.fill("training.stage1_steps", 5000)
    bench.wait_for("#train-command", "victim.* training.stage1_steps=5000")
    bench.page.locator("#train-start").click()
    bench.wait_for("#train-card", r"victim\s*running")
    return bench


def test_train__run_started_in_the_browser_obeys(long: Workbench) -> None:
    page = long.page
    page.locator("#train-pause:not([disabled])").click()
    long.wait_for(STATE, "paused")
    long.shoot("train_paused")
    page.locator("#train-resume:not([disabled])").click()
    long.wait_for(STATE, "running")


def test_train__app_may_die_and_come_back(long: Workbench) -> None:
    long.die_and_come_back()
    long.wait_for("#train-runs", "victim")
    long.wait_for("#run-line", "running")


def test_train__stopped_restarted_and_killed(long: Workbench) -> None:
    page = long.page
    page.locator("#train-stop:not([disabled])").click()
    long.wait_for(STATE, "stopped")
    page.locator("#train-restart:not([disabled])").click()
    long.wait_for(STATE, "running")
    pid = int(re.findall(r'"pid": (\d+)', (long.runs / "victim/status.json").read_text())[0])
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    long.wait_for(STATE, "dead")
    assert time.monotonic() - killed < 10
    long.wait_for("#train-card", "no longer runs")
    long.shoot("train_dead")


def test_train__finished_run_shows_everything(instances: Workbench) -> None:
    instances.tab("train")
    instances.wait_for("#train-curves", "s2t/class")
    instances.wait_for("#train-curves", "Pseudo-labels kept per batch")
    instances.wait_for("#train-figures", "of 20")
    instances.wait_for("#train-figures", "pseudo-labels")
    instances.wait_for("#train-log", "step 20")
    instances.wait_for(
        "#train-card",
        r"AP student \d+\.\d, teacher \d+\.\d \(Cityscapes protocol, student and teacher, step 20",
    )
    row = instances.text("#train-runs tbody tr.wb-chosen")
    assert re.search(r"first\s+finished\s+uda4inst\s+20 / 20\s+\d+\.\d\D+\d+\.\d", row), row
    assert instances.page.locator("#train-pause").is_disabled()
    instances.shoot("train")


def test_train__semantic_run_is_told_in_its_own_measure(pixels: Workbench) -> None:
    pixels.tab("train")
    pixels.wait_for(
        "#train-card",
        r"mIoU student \d+\.\d \(Cityscapes pixel protocol, student, step 16, 6 of 6 images",
    )
    pixels.wait_for("#train-curves", "Loss term source/pixels")
    row = pixels.text("#train-runs tbody tr.wb-chosen")
    assert re.search(r"pixels\s+finished\s+source_only\s+16 / 16\s+\d+\.\d( mIoU)?\s+–", row), row
    assert "Pseudo-labels" not in pixels.text("#train-curves")
    assert "pseudo-labels" not in pixels.text("#train-figures")
    assert not re.search(r"\bAP\b", row + pixels.text("#train-card"))
    pixels.shoot("train_semantic")


def test_train__wrong_values_are_told_and_nothing_starts(instances: Workbench) -> None:
    page = instances.page
    instances.tab("train")
    instances.preset("toystreets_smoke")
    before = {path.name for path in instances.runs.glob("[!.]*")}
    instances.fill("run.name", "a/b")
    instances.wait_for("#train-command", r"run\.name must be letters")
    page.locator("#train-start").click()
    page.get_by_text("run.name must be letters").nth(1).wait_for()
    instances.shoot("train_wrong_name")
    instances.fill("run.name", "first")
    instances.wait_for("#train-command", "'first' exists already")
    instances.fill("run.name", "second")
    instances.fill("method.score_threshold", 2)
    instances.wait_for("#train-command", r"method\.score_threshold must be less than or equal to 1")
    instances.fill("method.score_threshold", 0.3)
    instances.wait_for("#train-command", "uda4inst train")
    assert {path.name for path in instances.runs.glob("[!.]*")} == before


def test_train__form_keeps_what_was_typed_until_a_preset_is_chosen(bench: Workbench) -> None:
    bench.tab("train")
    bench.preset("toystreets_smoke")
    bench.fill("run.name", "typed")
    presets = bench.page.locator("#train-preset input")
    presets.focus()
    presets.press("Escape")
    presets.press("Tab")
    bench.page.wait_for_timeout(1500)
    bench.wait_for("#train-command", "run.name=typed( |$)")
    bench.wait_for_value("#field-run-name :is(input, textarea)", "typed")
    presets.focus()
    presets.press("ArrowDown")
    presets.press("Enter")
    bench.wait_for("#train-command", "uda4inst train (?!toystreets_smoke)")
    bench.preset("toystreets_smoke")
    bench.fill("run.name", "typed")
    bench.wait_for("#train-command", "run.name=typed( |$)")
    bench.choose("train-preset", "toystreets_smoke")  # the same, clicked: its values again
    bench.wait_for("#train-command", "^(?!.*run.name=typed)")


def test_train__form_follows_the_method_there_and_back(bench: Workbench) -> None:
    def empty(field: str) -> None:
        bench.wait_for_value(f"#field-{field} input", "")

    bench.tab("train")
    bench.preset("urbansyn_cityscapes")
    bench.unfold("Method", "method-ema-decay")
    bench.wait_for_value("#field-method-score-threshold input", "0.9")
    bench.choose("field-method-name", "source_only")
    bench.wait_for("#train-command", r"method\.name=source_only")
    bench.wait_hidden("#field-method-score-threshold")
    bench.wait_hidden("#field-method-pool-size")
    assert bench.page.locator("#field-method-lab-alignment").is_visible()
    bench.choose("field-method-name", "oracle")
    bench.wait_for("#train-command", r"method\.name=oracle")
    bench.wait_hidden("#field-method-lab-alignment")
    bench.choose("field-method-name", "uda4inst")
    bench.page.locator("#field-method-pool-size").wait_for()
    bench.wait_for_value("#field-method-score-threshold input", "0.9")
    # What was left empty is not 0 now.
    empty("method-unsure-threshold")
    empty("method-pool-area-budget")
    bench.wait_for(
        "#train-command",
        r"uda4inst train urbansyn_cityscapes run\.root=.*datasets/urbansyn is not there",
    )
    bench.shoot("train_form")


def test_train__form_refuses_a_method_of_another_task(bench: Workbench) -> None:
    bench.tab("train")
    bench.preset("toystreets_semantic")
    bench.wait_hidden("#field-method-score-threshold")
    bench.choose("field-method-name", "uda4inst")
    bench.wait_for("#train-command", r"method\.name must be a method of semantic")
    bench.page.locator("#train-start").click()
    bench.page.get_by_text("must be a method of semantic").nth(1).wait_for()
    bench.choose("field-method-name", "oracle")
    bench.wait_for("#train-command", r"uda4inst train toystreets_semantic .*method\.name=oracle")
    assert not (bench.runs / "toystreets_semantic").exists()
