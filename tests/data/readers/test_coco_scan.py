"""Taking COCO files apart: two readers, one result, and places that hold what they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from uda4inst.data.readers import coco_scan
from uda4inst.data.readers.coco_scan import Document, scan
from uda4inst.errors import UserError

TRIANGLE = [0, 0, 2.5, 0, 2, 1e0]
HEAD = '"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "car"}]'
WHOLE = '"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 2.5, 0, 2, 1e0]]'
# Entries as they stand in a file.
ENTRIES = {
    "plain": [f'{{"id": 1, {WHOLE}}}', f'{{"id": 2, {WHOLE}, "iscrowd": 1}}'],
    "umlauts": [f'{{"note": "Fußgänger 日本語 𝄞", {WHOLE}}}', f"{{{WHOLE}}}"],
    "escapes": [f'{{"note": "\\"]}}, {{\\\\", {WHOLE}}}', f'{{"\\u0069d": 7, {WHOLE}}}'],
    "white space": [f'{{ \t"id"\r\n:\n1 ,\t{WHOLE}\r}}', f"{{\n{WHOLE}\n}}"],
    "nested": [f'{{"a": {{"b": [{{}}, [[], [1]], {{"c": null}}]}}, {WHOLE}}}'] * 2,
    "twice the same": [f"{{{WHOLE}}}"] * 3,
    "names for ids": [f'{{{WHOLE}, "image_id": "ü", "category_id": "x"}}', f"{{{WHOLE}}}"],
    "codes": [
        '{"image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": '
        '{"counts": [4, 2, 18], "size": [4, 6]}}',
        '{"image_id": 1, "category_id": 1, "iscrowd": true, "segmentation": '
        '{"size": [4, 6], "counts": "42N"}}',
    ],
    "faults": [
        '{"id": 5, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4, 5, 6, 7]]}',
        f"{{{WHOLE}}}",
        '{"id": 6, "image_id": 1, "category_id": 1}',
        '{"id": 7, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4, 5, "6"]]}',
    ],
    "none": [],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.json"


def write(path: Path, entries: list[str], *, between: str = ",", head: str = "") -> bytes:
    """Write entries between other members, and return the bytes."""
    members = f'"annotations" : [ {between.join(entries)}\n] , "x": {{"annotations": []}}, {HEAD}'
    data = f"{head} {{ {members}}} ".encode()
    path.write_bytes(data)
    return data


def forbid_thoroughness(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str, **_: object) -> NoReturn:
        raise AssertionError(f"{text} is read by the slow reader")

    monkeypatch.setattr(coco_scan, "_scan_thoroughly", refuse)


def forbid_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: bytes, **_: object) -> NoReturn:
        raise RecursionError

    monkeypatch.setattr(coco_scan, "_scan_quickly", refuse)


def placed(document: Document, data: bytes) -> list[Any]:
    """Return what stands at the places of the annotations."""
    assert document.rows is not None
    bounds = document.rows.bounds.tolist()
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return [json.loads(data[start:end]) for start, end in pairs]


@pytest.mark.parametrize("entries", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize("between", [",", ", ", " \t,\r\n\n "], ids=["tight", "usual", "odd"])
@pytest.mark.parametrize("head", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_scan__both_readers_see_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, entries: list[str], between: str, head: str
) -> None:
    data = write(path, entries, between=between, head=head)
    with monkeypatch.context() as patch:
        forbid_thoroughness(patch)
        quick = scan(path, with_annotations=True)
    forbid_haste(monkeypatch)
    thorough = scan(path, with_annotations=True)
    assert placed(quick, data) == placed(thorough, data) == [json.loads(text) for text in entries]
    assert quick.rows == thorough.rows
    for name in ("images", "categories"):
        assert quick.lists[name] == thorough.lists[name]


def test_scan__faults_are_worded_beside_whole_annotations(path: Path) -> None:
    write(path, ENTRIES["faults"])
    rows = scan(path, with_annotations=True).rows
    assert rows is not None
    assert rows.problems == [
        (0, "annotation 5: polygon must have pairs of numbers, at least three, got 7 numbers"),
        (2, "annotation 6: segmentation must be polygons or a run-length code, got none"),
    ]


@pytest.mark.parametrize("entry", [f'{{"score": NaN, {WHOLE}}}', f'{{"x": "\\ud800", {WHOLE}}}'])
def test_scan__what_only_python_writes_is_read(path: Path, entry: str) -> None:
    data = write(path, [f'{{"ü": 1, {WHOLE}}}', entry])
    found = placed(scan(path, with_annotations=True), data)
    assert [other["segmentation"] for other in found] == [[TRIANGLE]] * 2


@pytest.mark.parametrize("with_annotations", [True, False])
def test_scan__text_that_is_passed_over_must_be_utf8(path: Path, with_annotations: bool) -> None:
    data = write(path, [f'{{"note": "ü", {WHOLE}}}'])
    path.write_bytes(data.replace("ü".encode(), b"\xff"))
    with pytest.raises(UserError, match=r"well-formed, got .*can't decode byte 0xff.*train.json"):
        scan(path, with_annotations=with_annotations)


def test_scan__annotations_are_passed_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_thoroughness(monkeypatch)
    write(path, ["3", '"nonsense"'])
    document = scan(path, with_annotations=False)
    assert document.rows is None
    assert document.lists["images"] == [{"id": 1, "file_name": "a.png"}]
