"""The run of category groups in a real browser."""

from __future__ import annotations

import re

import pytest
from browser_bench import PATIENCE, Workbench

from uda4inst.run_folder.layout import numbered

pytestmark = pytest.mark.browser


def test_groups__started_watched_and_looked_at_one_by_one(bench: Workbench) -> None:
    page = bench.page
    bench.open()
    bench.fill("method.groups", "three")
    bench.wait_for("#train-command", "method.groups must be one of one, table4_2")
    bench.preset("toystreets_smoke")
    bench.unfold("Training", "training-snapshot-every")
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
    bench.wait_for_trainer("#train-card", "of 36 steps of all groups")
    # The first group takes seconds, so the first snapshot is waited for on the disk.
    people = bench.runs / "groups/modules/person-rider-motorcycle-bicycle/snapshots"
    for _ in range(PATIENCE // 50):
        if numbered(people):
            break
        page.wait_for_timeout(50)
    # Paused, so that the second group still waits when it is looked at.
    page.locator("#train-pause:not([disabled])").click()
    bench.wait_for("#train-groups", r"person, rider, motorcycle, bicycle\s*paused")
    bench.wait_for("#train-groups", r"car, truck, bus, train\s*waiting")
    bench.shoot("groups_paused")
    page.locator("#train-groups [data-group=car-truck-bus-train]").click()
    bench.wait_for("#train-group", "car, truck, bus, train")
    bench.tab("mixing")
    bench.wait_for("#mixing-notice", "waits for its turn")
    bench.choose("group", "person, rider, motorcycle, bicycle")
    bench.wait_for("#mixing-facts", r"category group\s*person, rider")
    people = bench.picture("mixing-source")
    bench.tab("train")
    page.locator("#train-resume:not([disabled])").click()
    bench.wait_for_trainer("#train-groups", r"person, rider, motorcycle, bicycle\s*finished")
    bench.wait_for_trainer("#run-line", "finished")
    bench.tab("mixing")
    bench.choose("group", "car, truck, bus, train")
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
    bench.choose("error-maps-group", "car, truck, bus, train")
    bench.wait_for("#error-maps-title-a", r"category group\s*car, truck")
    bench.wait_for("#error-maps-facts", r"all of this group \(car, truck")
    bench.shoot("groups_error_maps")
