"""The Rare-class pool and Pseudo-labels pages in a real browser."""

from __future__ import annotations

import re

import pytest
from browser_bench import Workbench

pytestmark = pytest.mark.browser


def test_pool__contents_at_the_chosen_snapshot(instances: Workbench) -> None:
    instances.tab("pool")
    instances.wait_for("#pool-body", "rare classes")
    instances.shoot("pool")
    cards = instances.page.locator(".wb-pool-card")
    if cards.count():
        assert re.search(r"entered at step \d+", cards.first.inner_text())
    else:
        instances.wait_for("#pool-cards", "The pool is empty")


def test_pseudo_labels__slider_keeps_and_drops(instances: Workbench) -> None:
    def kept() -> int:
        return int(instances.text("#pseudo-labels-table tbody tr:last-child td:nth-child(2)"))

    instances.tab("pseudo_labels")
    box = instances.page.locator("#pseudo-labels-threshold input[type=number]")
    counts = []
    for threshold in ("0.05", "0.99"):
        box.fill(threshold)
        box.press("Tab")
        instances.wait_for("#pseudo-labels-curve .wb-mark-strong + text", rf"^{threshold}$")
        counts.append(kept())
        instances.shoot(f"pseudo_labels_{threshold}")
    assert counts[0] > counts[1]
    instances.page.locator("#pseudo-labels-reset").click()
    instances.wait_for("#pseudo-labels-curve", r"0\.3")
    instances.shoot("pseudo_labels")


def test_pool__semantic_run_has_none_and_says_why(pixels: Workbench) -> None:
    pixels.tab("pool")
    pixels.wait_for("#pool-cards", "source_only made no S2T image")
    pixels.wait_empty("#pool-summary")
    pixels.tab("pseudo_labels")
    pixels.wait_for("#pseudo-labels-notice", "source_only learns without them")
    pixels.wait_hidden("#pseudo-labels-threshold")
    pixels.shoot("pseudo_labels_semantic")
