"""Checking trees whose files belong together in other ways: split files, meta files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from uda4inst.data.reports.check import CheckReport, check_tree
from uda4inst.data.tree import DatasetOptions
from uda4inst.formats.class_map import ClassMap


def found(report: CheckReport) -> list[tuple[str, str]]:
    return [(finding.kind, finding.path) for finding in report.findings]


def write_png(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), values)


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """A KITTI-360 tree of seven frames, each with one car."""
    root = tmp_path / "kitti"
    drive = "2013_05_28_drive_0000_sync/image_00"
    lines: list[str] = []
    for frame in range(7):
        picture = f"data_2d_raw/{drive}/data_rect/{frame:010d}.png"
        semantic = f"data_2d_semantics/train/{drive}/semantic/{frame:010d}.png"
        write_png(root / picture, np.full((4, 6, 3), frame, np.uint8))
        write_png(root / semantic, np.full((4, 6), 26, np.uint8))
        instances = np.full((4, 6), 26001, np.uint16)
        write_png(root / semantic.replace("semantic/0", "instance/0"), instances)
        lines.append(f"{picture} {semantic}")
    splits = root / "data_2d_semantics/train"
    (splits / "2013_05_28_drive_train_frames.txt").write_text("\n".join(lines))
    (splits / "2013_05_28_drive_val_frames.txt").write_text(lines[6])
    return root


def test_check_tree__kitti360_lists_every_missing_file(kitti: Path) -> None:
    instances = kitti / "data_2d_semantics/train/2013_05_28_drive_0000_sync/image_00/instance"
    (instances / "0000000000.png").write_bytes(b"")
    (instances / "0000000001.png").unlink()
    pictures = kitti / "data_2d_raw/2013_05_28_drive_0000_sync/image_00/data_rect"
    for frame in range(1, 6):
        (pictures / f"{frame:010d}.png").unlink()
    report = check_tree("kitti360", kitti, split="train", workers=0)
    below = pictures.relative_to(kitti).as_posix()
    labels = instances.relative_to(kitti).as_posix()
    assert found(report) == [
        *(("missing", f"{below}/{frame:010d}.png") for frame in range(1, 6)),
        ("missing", f"{labels}/0000000001.png"),
        ("unreadable", f"{labels}/0000000000.png"),
        ("duplicate", f"{below}/0000000006.png"),  # a frame that both split files name
    ]


def test_check_tree__kitti360_without_split_file(kitti: Path) -> None:
    path = "data_2d_semantics/train/2013_05_28_drive_train_frames.txt"
    (kitti / path).unlink()
    assert found(check_tree("kitti360", kitti, split="train", workers=0)) == [("missing", path)]


@pytest.fixture
def synscapes(tmp_path: Path) -> Path:
    """A Synscapes tree of four images, each with one car."""
    root = tmp_path / "synscapes"
    for number in range(1, 5):
        write_png(root / f"img/rgb/{number}.png", np.full((4, 6, 3), number, np.uint8))
        write_png(root / f"img/class/{number}.png", np.full((4, 6), 26, np.uint8))
        write_png(root / f"img/instance/{number}.png", np.full((4, 6, 3), (0, 0, 9), np.uint8))
        facts = {"class": {"9": 26}, "occluded": {"9": 0.5}, "truncated": {"9": 0.0}}
        (root / "meta").mkdir(exist_ok=True)
        (root / f"meta/{number}.json").write_text(json.dumps({"instance": facts}))
    return root


def test_check_tree__synscapes_faults(synscapes: Path) -> None:
    assert check_tree("synscapes", synscapes, workers=0).findings == ()
    (synscapes / "meta/1.json").write_text("{")
    (synscapes / "meta/2.json").write_text('{"instance": {"class": {}}}')
    (synscapes / "meta/3.json").unlink()
    write_png(synscapes / "img/class/4.png", np.full((4, 6), 99, np.uint8))
    report = check_tree("synscapes", synscapes, workers=0)
    assert found(report) == [
        ("missing", "img/rgb/3.png"),
        ("unknown_id", "img/class/4.png"),
        ("unknown_id", "meta/2.json"),
        ("malformed", "meta/1.json"),
    ]


def test_check_tree__gta5_images_without_labels_are_notes(tmp_path: Path) -> None:
    for number in ("00001", "00002", "00003"):
        write_png(tmp_path / f"images/{number}.png", np.zeros((4, 6, 3), np.uint8))
    write_png(tmp_path / "labels/00001.png", np.full((4, 6), 7, np.uint8))
    report = check_tree("gta5", tmp_path, workers=0)
    assert found(report) == [("missing", "images/00002.png"), ("missing", "images/00003.png")]
    assert (report.ok, report.images) == (True, 3)


def test_check_tree__names_that_are_no_utf8_can_be_printed(tmp_path: Path) -> None:
    write_png(tmp_path / "images/00001.png", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "images" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    report = check_tree("images", tmp_path, workers=0)
    assert not report.ok
    assert report.to_text().encode("utf-8")


def write_coco(root: Path, name: str, *categories: str) -> Path:
    """Write a.png and an annotation file with an object of every category."""
    write_png(root / "a.png", np.zeros((4, 4, 3), dtype=np.uint8))
    numbered = list(enumerate(categories, start=1))
    mask = {"size": [4, 4], "counts": [0, 4, 12]}
    entry = {"image_id": 1, "iscrowd": 0, "segmentation": mask}
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": k, "category_id": k, **entry} for k, _ in numbered],
        "categories": [{"id": k, "name": category} for k, category in numbered],
    }
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(content))
    return root


def test_check_tree__class_that_nothing_names_is_a_note(tmp_path: Path) -> None:
    root = write_coco(tmp_path, "annotations/train.json", "car", "ox", "dog")
    report = check_tree("coco", root, workers=0)
    assert found(report) == [("unnamed", "annotations/train.json")] * 2
    assert report.ok
    assert "class 'dog' is none of the eight" in report.findings[0].message
    assert "its 1 objects are background" in report.findings[0].message


def test_check_tree__class_map_that_names_all_leaves_nothing_to_note(tmp_path: Path) -> None:
    root = write_coco(tmp_path, "annotations/train.json", "car", "ox", "dog")
    class_map = ClassMap((("car", "car"), ("dog", None), ("ox", "truck")))
    options = DatasetOptions(class_map=class_map)
    assert check_tree("coco", root, options=options, workers=0).findings == ()


@pytest.mark.parametrize("split", [None, "mine"])
def test_check_tree__a_named_annotation_file_is_of_one_split(
    tmp_path: Path, split: str | None
) -> None:
    root = write_coco(tmp_path, "mine.json", "car")
    options = DatasetOptions(annotations=Path("mine.json"))
    report = check_tree("coco", root, split=split, options=options, workers=0)
    assert (report.findings, report.split, report.images) == ((), split or "train", 1)


def test_check_tree__labels_that_are_left_alone_have_no_faults(kitti: Path) -> None:
    next(kitti.rglob("instance/*.png")).write_bytes(b"")
    (labels,) = found(check_tree("kitti360", kitti, split="train", workers=0))[:-1]
    alone = check_tree("kitti360", kitti, split="train", with_labels=False, workers=0)
    assert labels[0] == "unreadable"
    assert [kind for kind, _ in found(alone)] == ["duplicate"]  # frame 6 is in val as well


def test_check_tree__blames_the_right_file_whatever_the_folder_is_called(tmp_path: Path) -> None:
    root = tmp_path / "city (1), mine"
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / "val/a").mkdir(parents=True)
    write_png(root / "leftImg8bit/val/a/a_000000_000000_leftImg8bit.png", np.zeros((4, 4, 3)))
    truth = root / "gtFine/val/a"
    write_png(truth / "a_000000_000000_gtFine_instanceIds.png", np.full((4, 4), 7, np.uint16))
    write_png(truth / "a_000000_000000_gtFine_labelIds.png", np.full((4, 4), 77, np.uint8))
    report = check_tree("cityscapes", root, split="val")
    paths = [finding.path for finding in report.findings]
    assert paths == ["gtFine/val/a/a_000000_000000_gtFine_labelIds.png"]
