from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from uda4inst.uda.mixing import Origin
from workbench.pages.pool import page as pool
from workbench.services import Services
from workbench.stores.snapshots import Snapshot

Read = Callable[..., Snapshot]


@pytest.fixture
def read(services: Services, write_run: Callable[..., Path], factories: ModuleType) -> Read:
    run = write_run(steps=4)

    def make(**options: object) -> Snapshot:
        factories.write_snapshot(run, 100, **options)
        return services.snapshots.read("demo", 100)

    return make


def test_draw__entries_in_order_with_all_that_is_known(read: Read) -> None:
    snapshot = read(pool=4)
    view = pool.draw(snapshot, size=10)
    steps = [int(s) for s in re.findall(r"entered at step (\d+)", view.cards)]
    assert steps == [88, 91, 94, 97]
    assert view.cards.count("data:image/png;base64,") == 4
    for entry in snapshot.pool:
        assert entry.sample_id in view.cards
    for word in ("motorcycle", "drawn 2 times", "drawn once", "never drawn", "1 of 4 · oldest"):
        assert word in view.cards
    assert "4 of 10" in view.summary
    assert "train, motorcycle" in view.summary


def test_draw__says_how_much_the_pool_hides(read: Read) -> None:
    snapshot = read(pool=4)
    view = pool.draw(snapshot, size=10)
    shares = []
    for item in snapshot.items:
        assert item.s2t is not None
        assert item.s2t.origin is not None
        pasted = item.s2t.origin == Origin.POOL
        shares.append(f"{100 * pasted.sum() / pasted.size:.1f} %")
    assert shares[0] != "0.0 %"
    assert ", ".join(shares) in view.summary
    target = snapshot.items[0].target
    assert target is not None
    for entry in snapshot.pool:
        pixels = np.count_nonzero(entry.patch[..., 3])
        assert f"{100 * pixels / target[..., 0].size:.1f} % of an image" in view.cards


def test_draw__full_pool_names_who_leaves_next(read: Read) -> None:
    assert "1 of 3 · next out" in pool.draw(read(pool=3), size=3).cards


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": 0}, "No train or motorcycle has been seen yet"),
        ({"stage": 1}, "the pool fills in stage 2"),
    ],
    ids=["none-seen", "stage-1"],
)
def test_draw__empty_pool_says_why(read: Read, options: dict[str, int], words: str) -> None:
    view = pool.draw(read(**options), size=10)
    assert "The pool is empty" in view.cards
    assert words in view.cards


def test_draw__without_s2t_there_is_nothing_to_pool_for(read: Read) -> None:
    full = read(pool=0)
    bare = replace(full, items=[replace(item, s2t=None) for item in full.items])
    assert "uda4inst made no S2T image at this step" in pool.draw(bare, size=10).cards
