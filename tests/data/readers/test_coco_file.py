"""Annotation files: what Python writes beyond JSON, what is passed over, what is looked at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from uda4inst.data.readers import coco_file
from uda4inst.data.readers.coco_file import read_annotation_file, read_images
from uda4inst.errors import UserError

TRIANGLE = [0, 0, 2.5, 0, 2, 1e0]
HEAD = '"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "car"}]'
WHOLE = '"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 2.5, 0, 2, 1e0]]'


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a file may lie, beside an empty cache."""
    monkeypatch.setenv("UDA4INST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "train.json"


def write(path: Path, *entries: str) -> bytes:
    """Write entries as they stand, between other members, and return the bytes."""
    members = f'"annotations" : [ {", ".join(entries)}\n] , "x": {{"annotations": []}}, {HEAD}'
    path.write_text(f"{{ {members}}} ", encoding="utf-8")
    return path.read_bytes()


def label_of(name: str) -> int | None:
    return {"car": 2, "bus": 4}.get(name)


def masks_of(path: Path) -> list[Any]:
    file = read_annotation_file(path, label_of=label_of)
    return [annotation.mask() for annotation in file.annotations_of(0)]


def forbid_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: coco_file.Annotation) -> None:
        raise AssertionError("masks are looked at again")

    monkeypatch.setattr(coco_file.Annotation, "mask", refuse)


@pytest.mark.parametrize(
    "entry",
    [
        f'{{"note": "\\"]}}, {{\\\\ Fußgänger 日本語 𝄞", {WHOLE}}}',
        f'{{"a": {{"b": [{{}}, [[], [1]], {{"c": null}}]}}, {WHOLE}}}',
        f'{{ \t"id"\r\n:\n1 ,\t{WHOLE}\r}}',
        f'{{"score": NaN, {WHOLE}}}',
        f'{{"x": "\\ud800", {WHOLE}}}',
    ],
    ids=["text", "nested", "white space", "NaN", "half a surrogate"],
)
def test_read_annotation_file__whatever_stands_beside(path: Path, entry: str) -> None:
    write(path, f'{{"ü": 1, {WHOLE}}}', entry)
    assert masks_of(path) == [[TRIANGLE]] * 2


def test_read_annotation_file__codes(path: Path) -> None:
    ids = '"image_id": 1, "category_id": 1, "iscrowd": 1'
    write(
        path,
        f'{{{ids}, "segmentation": {{"counts": [4, 2, 18], "size": [4, 6]}}}}',
        f'{{{ids}, "segmentation": {{"size": [4, 6], "counts": "42N"}}}}',
    )
    assert masks_of(path) == [
        {"size": [4, 6], "counts": [4, 2, 18]},
        {"size": [4, 6], "counts": "42N"},
    ]


def test_read_annotation_file__faults_are_named_beside_whole_annotations(path: Path) -> None:
    write(
        path,
        '{"id": 5, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4, 5, 6, 7]]}',
        f"{{{WHOLE}}}",
        '{"id": 6, "image_id": 1, "category_id": 1}',
        '{"id": 7, "image_id": 3, "category_id": 8}',
    )
    with pytest.raises(UserError, match=r"got 4 faults \(.*train.json") as caught:
        read_annotation_file(path, label_of=label_of)
    assert str(caught.value).splitlines()[1:-1] == [
        "image_id must be listed, got 3 in 1 annotations",
        "category_id must be listed, got 8 in 1 annotations",
        "annotation 5: polygon must have pairs of numbers, got 7 numbers",
        "annotation 6: segmentation must be polygons or a run-length code: Expected "
        "`object | array`, got `null`",
    ]


def test_read_images__passes_annotations_over(path: Path) -> None:
    write(path, "3", '"nonsense"')
    assert [image.file_name for image in read_images(path)] == ["a.png"]


def test_read_annotation_file__masks_are_looked_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, f"{{{WHOLE}}}")
    first = read_annotation_file(path, label_of=label_of)
    forbid_looking(monkeypatch)
    again = read_annotation_file(path, label_of=label_of)
    assert again.annotations == first.annotations


@pytest.mark.parametrize("change", ["content", "time", "classes"])
def test_read_annotation_file__masks_are_looked_at_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    data = write(path, f"{{{WHOLE}}}")
    read_annotation_file(path, label_of=label_of)
    if change == "content":
        path.write_bytes(data + b" ")
    elif change == "time":
        os.utime(path, ns=(1, 1))
    forbid_looking(monkeypatch)
    with pytest.raises(AssertionError, match="looked at again"):
        read_annotation_file(path, label_of=(lambda _: 1) if change == "classes" else label_of)


def test_read_annotation_file__faulty_masks_are_told_every_time(path: Path) -> None:
    write(path, '{"id": 6, "image_id": 1, "category_id": 1}')
    for _ in range(2):
        with pytest.raises(UserError, match="annotation 6"):
            read_annotation_file(path, label_of=label_of)


def test_read_annotation_file__cache_that_cannot_be_written(path: Path) -> None:
    (path.parent / "cache").write_text("a file")
    write(path, f"{{{WHOLE}}}")
    assert masks_of(path) == [[TRIANGLE]]


def test_read_annotation_file__is_not_there(path: Path) -> None:
    with pytest.raises(UserError, match=r"must be readable, got no such file \(.*train.json"):
        read_annotation_file(path, label_of=label_of)
    path.write_text(json.dumps({}))
    with pytest.raises(UserError, match="have COCO's layout: Object missing"):
        read_annotation_file(path, label_of=label_of)
