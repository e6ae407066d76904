from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uda4inst.data.config import DatasetRef
from uda4inst.data.readers.urbansyn import UrbanSyn
from uda4inst.errors import UserError
from workbench.pages.data.markup import class_bars, shares_basis
from workbench.stores.class_shares import ClassShares, Shares

REF = DatasetRef.model_validate({"format": "urbansyn", "root": "some/where"})


def wait(counting: ClassShares, ref: DatasetRef = REF) -> Shares:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = counting.look(ref)
        if found is not None and found.state != "counting":
            return found
        time.sleep(0.01)
    raise TimeoutError


@pytest.fixture
def counted(toy_tree: Path) -> Shares:
    counting = ClassShares(limit=3)
    counting.ask(REF, lambda: UrbanSyn(toy_tree / "urbansyn"))
    return wait(counting)


def test_class_shares__counts_a_limited_number_of_images(counted: Shares) -> None:
    assert counted.state == "done"
    assert counted.statistics is not None
    assert counted.statistics.images == 3
    assert (counted.done, counted.total) == (3, 3)


def test_class_shares__counts_once(toy_tree: Path) -> None:
    calls: list[int] = []

    def collect(*_: Any, **__: Any) -> Any:
        calls.append(1)
        raise UserError("labels must be readable, got none.")

    counting = ClassShares(collect=collect)
    assert counting.look(REF) is None
    counting.ask(REF, lambda: UrbanSyn(toy_tree / "urbansyn"))
    assert wait(counting).error == "labels must be readable, got none."
    assert counting.ask(REF, lambda: UrbanSyn(toy_tree / "urbansyn")).state == "failed"
    assert calls == [1]


def test_class_shares__asking_does_not_wait(toy_tree: Path) -> None:
    go = threading.Event()

    def collect(tree: Any, *, progress: Callable[[int, int], None], **_: Any) -> Any:
        del tree
        progress(2, 7)
        go.wait(20)
        return None

    counting = ClassShares(collect=collect)
    counting.ask(REF, lambda: UrbanSyn(toy_tree / "urbansyn"))
    deadline = time.monotonic() + 20
    while counting.look(REF) != Shares(done=2, total=7) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counting.look(REF) == Shares(done=2, total=7)
    go.set()
    assert wait(counting).state == "done"


def test_class_bars__one_rare_class_in_each_group(counted: Shares) -> None:
    html = class_bars({"source": counted, "target": None})
    assert counted.statistics is not None
    assert html.count(">rare<") == len(counted.statistics.rare_classes())
    assert html.index("human-cycle") < html.index("motorcycle") < html.index("vehicle")
    basis = shares_basis({"source": counted}, 3)
    assert "3 images" in basis
    assert "at most 3" in basis


def test_class_bars__says_how_far_it_is_and_why_it_failed() -> None:
    html = class_bars({"source": Shares(done=5, total=20), "target": Shares("failed", error="bad")})
    assert "5 of 20 images" in html
    assert "width:25%" in html
    assert "bad" in html
