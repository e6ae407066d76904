from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uda4inst.errors import UserError
from workbench.stores.snapshots import SnapshotStore, nearest


@pytest.fixture
def run(write_run: Callable[..., Path]) -> Path:
    return write_run(steps=4, snapshots=(100, 200))


@pytest.fixture
def store(runs_root: Path) -> SnapshotStore:
    return SnapshotStore(runs_root)


def test_steps__sorted_and_only_whole(store: SnapshotStore, run: Path) -> None:
    (run / "snapshots" / ".tmp-00000300").mkdir()
    assert store.steps("demo") == [100, 200]
    assert store.steps("nothing") == []


def test_read__views_of_stage_2(store: SnapshotStore, run: Path) -> None:
    snapshot = store.read("demo", 200)
    item = snapshot.items[1]
    assert (snapshot.step, snapshot.stage, len(snapshot.items)) == (200, 2, 2)
    assert item.target_id == "toyville_000003_000019"
    assert item.s2t is not None
    assert item.s2t.origin is not None
    assert item.s2t.image.shape == (128, 256, 3)
    assert len(item.candidates) == len(item.kept)
    assert [entry.step for entry in snapshot.pool] == sorted(e.step for e in snapshot.pool)


def test_read__views_that_were_not_made_are_none(
    store: SnapshotStore, run: Path, factories: Any
) -> None:
    factories.write_snapshot(run, 50, stage=1)
    item = store.read("demo", 50).items[0]
    assert item.source is not None
    assert (item.pseudo_labels, item.s2t, item.t2s) == (None, None, None)


def test_read__again_comes_from_memory_until_written_again(
    store: SnapshotStore, run: Path, factories: Any
) -> None:
    first = store.read("demo", 200)
    assert store.read("demo", 200) is first
    factories.write_snapshot(run, 200, index=3)
    assert store.read("demo", 200).items[0].source_id == "toy_0006"


def test_read__snapshot_that_made_room(store: SnapshotStore, run: Path) -> None:
    with pytest.raises(UserError, match=r"snapshot 7 of 'demo' must be .* choose another"):
        store.read("demo", 7)


def cut(folder: Path) -> None:
    path = folder / "arrays.npz"
    path.write_bytes(path.read_bytes()[:4000])


def empty(folder: Path) -> None:
    (folder / "arrays.npz").write_bytes(b"")


def half_json(folder: Path) -> None:
    path = folder / "snapshot.json"
    path.write_text(path.read_text()[:200])


def no_patch(folder: Path) -> None:
    path = folder / "snapshot.json"
    facts = json.loads(path.read_text())
    facts["pool"][0]["patch"] = "pool_99"
    path.write_text(json.dumps(facts))


def other_size(folder: Path) -> None:
    with np.load(folder / "arrays.npz") as arrays:
        changed = {**arrays, "source_ids_0": np.zeros((3, 3), dtype=np.int32)}
    np.savez_compressed(folder / "arrays.npz", **changed)


def more_ids_than_labels(folder: Path) -> None:
    with np.load(folder / "arrays.npz") as arrays:
        changed = {**arrays, "source_ids_0": np.full((128, 256), 99, dtype=np.int32)}
    np.savez_compressed(folder / "arrays.npz", **changed)


@pytest.mark.parametrize(
    "damage", [cut, empty, half_json, no_patch, other_size, more_ids_than_labels]
)
def test_read__damage_is_one_clear_message(
    store: SnapshotStore, run: Path, damage: Callable[[Path], None]
) -> None:
    damage(run / "snapshots" / "00000200")
    with pytest.raises(UserError, match="snapshot 200 of 'demo' must be readable, got") as caught:
        store.read("demo", 200)
    assert "pickle" not in str(caught.value)
    assert store.read("demo", 100).step == 100


@pytest.mark.parametrize(
    ("wanted", "step"), [(0, 100), (149, 100), (150, 100), (151, 200), (9, 100)]
)
def test_nearest__closest_step_the_earlier_of_two(wanted: int, step: int) -> None:
    assert nearest([100, 200], wanted) == step


def test_read__rare_classes_of_a_category_group_are_its_own(
    store: SnapshotStore, run: Path
) -> None:
    path = run / "snapshots" / "00000200" / "snapshot.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "classes": ["car", "truck", "bus", "train"]}))
    assert store.read("demo", 200).rare_classes == ("train",)
