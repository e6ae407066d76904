"""Writing ToyStreets trees: what is written is what the loaders read; whole or not at all."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fake_trees import digest

from uda4inst.data.files.png import read_map
from uda4inst.data.readers import Cityscapes, UrbanSyn
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.toystreets import jobs, render_scene
from uda4inst.toystreets import write as write_module
from uda4inst.toystreets.world import ToyDomain
from uda4inst.toystreets.write import BeingWritten, ToyStreetsTree, write_toystreets

SIZE = (48, 96)
Render = Callable[..., Any]


def same_partition(
    ids: np.ndarray, labels: np.ndarray, other_ids: np.ndarray, other_labels: np.ndarray
) -> bool:
    """Whether two id maps hold the same objects with the same classes under other numbers."""
    pairs = {(int(a), int(b)) for a, b in zip(ids.ravel(), other_ids.ravel(), strict=True)}
    numbers = [(a, b) for a, b in pairs if a > 0 or b > 0]
    one_to_one = len({a for a, _ in numbers}) == len(numbers) == len({b for _, b in numbers})
    rest = {pair for pair in pairs if pair not in numbers} <= {(0, 0), (-1, -1)}
    same_class = all(a > 0 and b > 0 and labels[a - 1] == other_labels[b - 1] for a, b in numbers)
    return one_to_one and rest and same_class and len(labels) == len(other_labels)


@pytest.mark.parametrize("index", range(6))
def test_write_toystreets__render_domain_reads_back_the_same(
    tree: ToyStreetsTree, fake_render: Render, index: int
) -> None:
    scene = fake_render(seed=5, domain="render", split="train", index=index, size=SIZE)
    dataset = UrbanSyn(tree.source_root, "train")
    read = dataset.read_labels(index)
    np.testing.assert_array_equal(dataset.read_image(index), scene.image)
    np.testing.assert_array_equal(read.semantic, scene.semantic)
    assert same_partition(read.ids, read.labels, scene.ids, scene.labels)


@pytest.mark.parametrize(
    ("split", "index"), [("train", 0), ("train", 3), ("train", 5), ("val", 0), ("val", 2)]
)
def test_write_toystreets__camera_domain_reads_back_the_same(
    tree: ToyStreetsTree, fake_render: Render, split: str, index: int
) -> None:
    scene = fake_render(seed=5, domain="camera", split=split, index=index, size=SIZE)
    dataset = Cityscapes(tree.target_root, split)
    read = dataset.read_labels(index)
    np.testing.assert_array_equal(dataset.read_image(index), scene.image)
    np.testing.assert_array_equal(read.semantic, scene.semantic)
    assert same_partition(read.ids, read.labels, scene.ids, scene.labels)


def test_write_toystreets__real_scenes_read_back_the_same(tmp_path: Path) -> None:
    tree = write_toystreets(tmp_path / "t", size=(64, 128), train=4, val=2, seed=1, workers=1)
    parts: tuple[tuple[ImageTree, ToyDomain, str], ...] = (
        (UrbanSyn(tree.source_root), "render", "train"),
        (Cityscapes(tree.target_root, "train"), "camera", "train"),
        (Cityscapes(tree.target_root, "val"), "camera", "val"),
    )
    for dataset, domain, split in parts:
        for index in range(len(dataset)):
            scene = render_scene(seed=1, domain=domain, split=split, index=index, size=(64, 128))
            read = dataset.read_labels(index)
            np.testing.assert_array_equal(dataset.read_image(index), scene.image)
            np.testing.assert_array_equal(read.semantic, scene.semantic)
            assert same_partition(read.ids, read.labels, scene.ids, scene.labels)


def test_write_toystreets__ego_vehicle_is_one_mask_for_all(
    tree: ToyStreetsTree, fake_render: Render
) -> None:
    scene = fake_render(seed=5, domain="camera", split="val", index=1, size=SIZE)
    mask = read_map(
        tree.target_root / "ego_vehicle.png", what="ego vehicle mask", allow={"8-bit gray"}
    )
    np.testing.assert_array_equal(mask == 0, scene.ego)
    assert set(np.unique(mask)) == {0, 255}


def test_write_toystreets__same_bytes_with_workers(
    tree: ToyStreetsTree, fake_render: Render, tmp_path: Path
) -> None:
    write_toystreets(
        tmp_path / "again", size=SIZE, train=6, val=3, seed=5, workers=2, render=fake_render
    )
    assert digest(tmp_path / "again") == digest(tree.source_root.parent)


def test_write_toystreets__other_seed_gives_other_pictures(
    tree: ToyStreetsTree, fake_render: Render, tmp_path: Path
) -> None:
    write_toystreets(
        tmp_path / "t", size=SIZE, train=1, val=1, seed=6, workers=0, render=fake_render
    )
    name = "urbansyn/rgb/rgb_0001.png"
    assert digest(tmp_path / "t")[name] != digest(tree.source_root.parent)[name]


def test_write_toystreets__second_call_does_nothing(
    own_tree: ToyStreetsTree, fake_render: Render
) -> None:
    root = own_tree.source_root.parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    again = write_toystreets(root, size=SIZE, train=6, val=3, seed=5, render=fake_render)
    assert again == own_tree
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_write_toystreets__reports_progress_to_the_end(fake_render: Render, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_toystreets(
        tmp_path / "t",
        size=SIZE,
        train=9,
        val=1,
        workers=1,
        progress=lambda done, total: seen.append((done, total)),
        render=fake_render,
    )
    assert seen == [(8, 19), (9, 19), (17, 19), (18, 19), (19, 19)]


def test_write_toystreets__refuses_a_folder_with_other_things(
    fake_render: Render, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(UserError, match=r"holds something else .* Choose another folder"):
        write_toystreets(tmp_path, size=SIZE, train=1, val=1, render=fake_render)
    assert (tmp_path / "thesis.txt").read_text() == "do not lose me"


def test_write_toystreets__refuses_a_tree_with_other_parameters(
    own_tree: ToyStreetsTree, fake_render: Render
) -> None:
    with pytest.raises(UserError, match="seed 5 instead of 7, train 6 instead of 2"):
        write_toystreets(
            own_tree.source_root.parent, size=SIZE, train=2, val=3, seed=7, render=fake_render
        )


def test_write_toystreets__fills_an_empty_folder(fake_render: Render, tmp_path: Path) -> None:
    made = write_toystreets(tmp_path, size=SIZE, train=1, val=1, workers=0, render=fake_render)
    assert len(UrbanSyn(made.source_root)) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_write_toystreets__failure_leaves_nothing(
    fake_render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(jobs, "write_cityscapes", fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_toystreets(tmp_path / "t", size=SIZE, train=1, val=1, workers=0, render=fake_render)
    assert list(tmp_path.iterdir()) == []


def test_write_toystreets__clears_what_a_killed_call_left(
    fake_render: Render, tmp_path: Path
) -> None:
    stale = tmp_path / ".t.partial" / "urbansyn" / "rgb"
    stale.mkdir(parents=True)
    (stale / "rgb_0099.png").write_bytes(b"half")
    made = write_toystreets(
        tmp_path / "t", size=SIZE, train=1, val=1, workers=0, render=fake_render
    )
    assert len(UrbanSyn(made.source_root)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_write_toystreets__two_writers_are_refused(fake_render: Render, tmp_path: Path) -> None:
    out = tmp_path / "t"
    with (
        write_module._partial_folder(out),
        pytest.raises(BeingWritten, match="another at work"),
    ):
        write_toystreets(out, size=SIZE, train=1, val=1, workers=0, render=fake_render)


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether something comes true within half a minute."""
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stall(folder: Path, job: object, *, render: object) -> int:
    """A job that says who does it and never ends."""
    (folder / f"worker_{os.getpid()}").touch()
    time.sleep(60)
    return 0


def test_write_toystreets__a_killed_writer_leaves_no_lock_and_no_workers(
    fake_render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t"
    arguments = {"size": SIZE, "train": 16, "val": 1, "render": fake_render}
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_write_job", functools.partial(stall, tmp_path))
        writer = multiprocessing.get_context("fork").Process(
            target=write_toystreets, args=(out,), kwargs=arguments | {"workers": 2}
        )
        writer.start()
    assert wait_for(lambda: len(list(tmp_path.glob("worker_*"))) == 2)
    writer.kill()
    writer.join()
    write_toystreets(out, **arguments, workers=0)
    pids = [int(path.name.removeprefix("worker_")) for path in tmp_path.glob("worker_*")]
    assert wait_for(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"size": (2048, 4096)}, "size must lie between 32x32 and 1024x2048"),
        ({"train": 0}, r"train must lie in \[1, 1000000\]"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
    ids=["size", "count", "seed"],
)
def test_write_toystreets__refuses_arguments_out_of_range(
    tmp_path: Path, arguments: dict[str, Any], rule: str
) -> None:
    with pytest.raises(UserError, match=rule):
        write_toystreets(tmp_path / "t", **arguments)


def test_write_toystreets__boxes_have_the_panoptic_colours(tree: ToyStreetsTree) -> None:
    dataset = UrbanSyn(tree.source_root)
    boxes = json.loads((tree.source_root / "bbox2d" / "bbox2d_0001.json").read_text())
    assert len(boxes) == len(dataset.read_labels(0).labels)
    np.testing.assert_array_equal(dataset.read_objects(0)[1].occlusion, np.zeros(len(boxes)))
