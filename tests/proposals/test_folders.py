"""Looking at folders: what cannot be looked at, and annotation files wherever they lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from published_trees import save

from uda4inst.errors import UserError
from uda4inst.proposals.folders import choose_split, find_fits


def write_annotated(root: Path, name: str, picture: str) -> None:
    save(root / picture, np.zeros((4, 4, 3), np.uint8))
    mask = {"size": [4, 4], "counts": [0, 4, 12]}
    content = {
        "images": [{"id": 1, "file_name": picture.rpartition("/")[2]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": mask}],
        "categories": [{"id": 1, "name": "car"}],
    }
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "picture", "split", "annotations"),
    [
        ("annotations/instances_train2017.json", "train2017/a.png", "train2017", None),
        ("annotations/val.json", "images/val/a.png", "val", None),
        ("labels.json", "images/a.png", "train", "labels.json"),
        ("valid/_annotations.coco.json", "valid/a.png", "valid", "valid/_annotations.coco.json"),
    ],
)
def test_find_fits__annotation_files_where_people_put_them(
    tmp_path: Path, name: str, picture: str, split: str, annotations: str | None
) -> None:
    write_annotated(tmp_path, name, picture)
    first = find_fits(tmp_path)[0]
    (seen,) = first.splits
    assert (first.format, seen.name, seen.annotations) == ("coco", split, annotations)
    assert (seen.is_labelled, seen.categories) == (True, (("car", 1),))
    assert len(seen.open(domain="source", class_map=None)) == 1


def test_find_fits__folder_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"folder that can be read, got permission denied \("):
        find_fits(tmp_path)


def test_choose_split__by_the_beginnings_of_names(tmp_path: Path) -> None:
    for split in ("test", "train2017", "validation"):
        write_annotated(tmp_path, f"annotations/{split}.json", f"{split}/a.png")
    (coco, _) = find_fits(tmp_path)
    names = [
        getattr(choose_split(coco, wanted, labelled=True), "name", None)
        for wanted in (("train",), ("val", "test"), ("other",))
    ]
    assert names == ["train2017", "validation", "test"]


@pytest.mark.parametrize("folder", ["", "labels/"])
def test_find_fits__two_annotation_files_of_a_folder_are_two_splits(
    tmp_path: Path, folder: str
) -> None:
    for split in ("train", "val"):
        write_annotated(tmp_path, f"{folder}{split}.json", f"images/{split}/{split}.png")
    (tmp_path / folder / "license.json").write_text("[]")  # of another kind
    splits = find_fits(tmp_path)[0].splits
    found = [(s.name, s.annotations, s.images.records[0].sample_id) for s in splits]
    assert found == [(s, f"{folder}{s}.json", s) for s in ("train", "val")]


def test_find_fits__other_json_beside_an_annotation_file_does_not_count(tmp_path: Path) -> None:
    write_annotated(tmp_path, "labels.json", "images/train/a.png")
    (tmp_path / "license.json").write_text("[]")
    (seen,) = find_fits(tmp_path)[0].splits
    assert (seen.name, seen.annotations) == ("train", "labels.json")
