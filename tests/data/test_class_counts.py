"""Counts of classes: right, remembered, and forgotten when a label file changes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from uda4inst.data import class_counts as module
from uda4inst.data.class_counts import class_counts
from uda4inst.data.readers import UrbanSyn
from uda4inst.data.tree import DatasetOptions, ObjectFilter
from uda4inst.toystreets.write import ToyStreetsTree


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
    np.testing.assert_array_equal(module._count(dataset, 2), alone)


def test_class_counts__read_once(tree: ToyStreetsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = UrbanSyn(tree.source_root)
    first = class_counts(dataset)
    monkeypatch.setattr(UrbanSyn, "read_labels", None)
    np.testing.assert_array_equal(class_counts(UrbanSyn(tree.source_root)), first)


def test_class_counts__a_changed_file_counts_anew(own_tree: ToyStreetsTree) -> None:
    dataset = UrbanSyn(own_tree.source_root)
    before = class_counts(dataset)
    one, other = dataset.records[0], dataset.records[1]
    for path, source in zip(one.labels, other.labels, strict=True):
        path.write_bytes(source.read_bytes())
        os.utime(path, ns=(1, 1))
    after = class_counts(dataset)
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
