"""Counts of classes: right, remembered, and forgotten when a label file changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from uda4inst.data import class_counts as module
from uda4inst.data.class_counts import class_counts, pixel_counts
from uda4inst.data.readers import Cityscapes, UrbanSyn
from uda4inst.data.tree import DatasetOptions, ImageTree, ObjectFilter
from uda4inst.formats.image_list import ImageList
from uda4inst.toystreets.write import ToyStreetsTree

Count = Callable[[ImageTree], NDArray[np.int64]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UDA4INST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_class_counts__equal_the_labels(tree: ToyStreetsTree) -> None:
    dataset = UrbanSyn(tree.source_root)
    counts = class_counts(dataset)
    for index in range(len(dataset)):
        labels = dataset.read_labels(index).labels
        assert counts[index].tolist() == [(labels == thing).sum() for thing in range(8)]


def test_class_counts__processes_agree(
    tree: ToyStreetsTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = UrbanSyn(tree.source_root)
    alone = class_counts(dataset)
    monkeypatch.setattr(module, "_PATIENCE", -1.0)
    np.testing.assert_array_equal(module._count(dataset, module._INSTANCES, 2), alone)


def test_pixel_counts__equal_a_slow_count(tree: ToyStreetsTree) -> None:
    dataset = UrbanSyn(tree.source_root)
    counts = pixel_counts(dataset)
    ignored = 0
    for index in range(len(dataset)):
        pixels = dataset.read_semantic(index).ravel().tolist()
        assert counts[index].tolist() == [pixels.count(train_id) for train_id in range(19)]
        ignored += len(pixels) - int(counts[index].sum())
    assert ignored > 0


@pytest.mark.parametrize("count", [class_counts, pixel_counts])
def test_counts__read_once(
    tree: ToyStreetsTree, monkeypatch: pytest.MonkeyPatch, count: Count
) -> None:
    first = count(UrbanSyn(tree.source_root))
    for name in ("read_instances", "read_semantic"):
        monkeypatch.setattr(UrbanSyn, name, None)
    np.testing.assert_array_equal(count(UrbanSyn(tree.source_root)), first)


def test_counts__of_another_data_set_are_not_taken(
    tree: ToyStreetsTree, own_tree: ToyStreetsTree
) -> None:
    one = pixel_counts(UrbanSyn(tree.source_root))
    listed = DatasetOptions(only=ImageList(("rgb_0003",), "hash"))
    np.testing.assert_array_equal(
        pixel_counts(UrbanSyn(tree.source_root, options=listed)), one[2:3]
    )
    other = Cityscapes(own_tree.target_root, "train")
    found = pixel_counts(other)
    expected = np.bincount(other.read_semantic(0).ravel(), minlength=256)[:19]
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("count", [class_counts, pixel_counts])
def test_counts__a_changed_file_counts_anew(own_tree: ToyStreetsTree, count: Count) -> None:
    dataset = UrbanSyn(own_tree.source_root)
    before = count(dataset)
    assert before[0].tolist() != before[1].tolist()
    one, other = dataset.records[0], dataset.records[1]
    for path, source in zip(one.labels, other.labels, strict=True):
        path.write_bytes(source.read_bytes())
        os.utime(path, ns=(1, 1))
    after = count(dataset)
    np.testing.assert_array_equal(after[0], before[1])


def test_class_counts__filters_have_their_own(tree: ToyStreetsTree) -> None:
    options = DatasetOptions(objects=ObjectFilter(min_area=10**6))
    whole = class_counts(UrbanSyn(tree.source_root))
    filtered = class_counts(UrbanSyn(tree.source_root, options=options))
    assert whole.sum() > 0
    assert filtered.sum() == 0


def test_class_counts__damaged_or_unwritable_cache(tree: ToyStreetsTree, own_cache: Path) -> None:
    dataset = UrbanSyn(tree.source_root)
    first = class_counts(dataset)
    (file,) = (own_cache / "class_counts").glob("*.npy")
    file.write_bytes(b"half")
    np.testing.assert_array_equal(class_counts(dataset), first)
    file.unlink()
    (own_cache / "class_counts").rmdir()
    (own_cache / "class_counts").write_text("a file where the folder should be")
    np.testing.assert_array_equal(class_counts(dataset), first)


def test_class_counts__count_anew_as_facts_that_a_filter_asks_for_arrive(
    own_tree: ToyStreetsTree, tmp_path: Path
) -> None:
    boxes = own_tree.source_root / "bbox2d"
    for path in boxes.iterdir():
        hidden = [box | {"occlusion_percentage": 90.0} for box in json.loads(path.read_text())]
        path.write_text(json.dumps(hidden))
    boxes.rename(tmp_path / "later")
    options = DatasetOptions(objects=ObjectFilter(max_occlusion=0.0))
    before = class_counts(UrbanSyn(own_tree.source_root, options=options))
    (tmp_path / "later").rename(boxes)
    after = class_counts(UrbanSyn(own_tree.source_root, options=options))
    assert before.sum() > after.sum() == 0
