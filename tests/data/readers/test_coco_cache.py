"""Remembered annotation files: the same as read ones, and never those of another content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from uda4inst.data.readers import coco_cache
from uda4inst.data.readers.coco_cache import open_annotation_file
from uda4inst.data.readers.coco_file import AnnotationFile, read_annotation_file


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that counts as settled, and an empty cache of its own."""
    monkeypatch.setenv("UDA4INST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(coco_cache, "_SETTLED_SECONDS", -60.0)
    return write(tmp_path / "a.json", category="car")


def write(path: Path, *, category: str) -> Path:
    boxes = [[0, 0, 2, 0, 2, 2], [1, 1, 2, 2, 2, 1]]
    entries = [
        {"id": n, "image_id": 2 - n % 2, "category_id": n % 2, "segmentation": [boxes[n % 2]]}
        for n in range(5)
    ]
    images = [
        {"id": 1, "file_name": "straße.png"},
        {"id": 2, "file_name": "b.png", "height": 4, "width": 6},
    ]
    categories = [{"id": 0, "name": "tree"}, {"id": 1, "name": category}]
    content = {"images": images, "annotations": entries, "categories": categories}
    path.write_text(json.dumps(content))
    return path


def label_of(name: str) -> int | None:
    return {"car": 2, "bus": 4}.get(name)


def assert_same(first: AnnotationFile, second: AnnotationFile) -> None:
    assert (first.path, first.images, first.categories, first.version) == (
        second.path,
        second.images,
        second.categories,
        second.version,
    )
    for name in ("starts", "ends", "labels", "is_crowd", "first"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, **_: object) -> AnnotationFile:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(coco_cache, "read_annotation_file", read)


def test_open_annotation_file__the_second_time_from_the_cache(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_annotation_file(path, label_of=label_of)
    assert_same(open_annotation_file(path, label_of=label_of), read)
    forbid_reading(monkeypatch)
    again = open_annotation_file(path, label_of=label_of)
    assert_same(again, read)
    assert [a.segmentation for a in again.annotations_of(0)] == [[[1, 1, 2, 2, 2, 1]]] * 2


def test_open_annotation_file__a_changed_file_is_read_again(path: Path) -> None:
    open_annotation_file(path, label_of=label_of)
    write(path, category="bus")
    assert open_annotation_file(path, label_of=label_of).labels.tolist() == [4, 4]


def test_open_annotation_file__other_classes_are_read_again(path: Path) -> None:
    open_annotation_file(path, label_of=label_of)
    assert len(open_annotation_file(path, label_of=lambda _: 1).labels) == 5


def test_open_annotation_file__a_fresh_file_is_not_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_cache, "_SETTLED_SECONDS", 3600.0)
    open_annotation_file(path, label_of=label_of)
    assert not (path.parent / "cache").exists()


@pytest.mark.parametrize("kept", [0, 100, -30])
def test_open_annotation_file__damaged_cache(path: Path, kept: int) -> None:
    read = open_annotation_file(path, label_of=label_of)
    (cache,) = (path.parent / "cache/coco").iterdir()
    cache.write_bytes(cache.read_bytes()[:kept])
    assert_same(open_annotation_file(path, label_of=label_of), read)


def test_open_annotation_file__cache_that_cannot_be_written(path: Path) -> None:
    (path.parent / "cache").write_text("a file")
    assert open_annotation_file(path, label_of=label_of).labels.tolist() == [2, 2]
