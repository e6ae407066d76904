"""Checking trees: every fault is found, all of them in one report."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from uda4inst.data.readers.urbansyn import UrbanSyn
from uda4inst.data.reports.check import CheckReport, Finding, check_tree
from uda4inst.data.reports.check_files import image_checks, list_split, open_splits
from uda4inst.data.reports.export import export_coco
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.toystreets.write import ToyStreetsTree

GT = "gtFine/train/toyville/toyville_{:06d}_000019_gtFine_{}.png"
IMAGE = "leftImg8bit/train/toyville/toyville_{:06d}_000019_leftImg8bit.png"
VAL_IMAGE = "leftImg8bit/val/toyburg/toyburg_{:06d}_000019_leftImg8bit.png"


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def remove_folder(name: str) -> Callable[[Path], object]:
    return lambda root: shutil.rmtree(root / name)


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(data)


def cut(name: str) -> Callable[[Path], object]:
    def break_tree(root: Path) -> None:
        (root / name).write_bytes((root / name).read_bytes()[:200])

    return break_tree


def garble(name: str) -> Callable[[Path], object]:
    """Zero the middle of the compressed data; the chunks still look complete."""

    def break_tree(root: Path) -> None:
        data = bytearray((root / name).read_bytes())
        middle = data.index(b"IDAT") + 4
        data[middle : middle + 60] = bytes(60)
        (root / name).write_bytes(data)

    return break_tree


def rename(name: str, new: str) -> Callable[[Path], object]:
    return lambda root: (root / name).rename(root / new)


def copy(name: str, new: str) -> Callable[[Path], object]:
    return lambda root: shutil.copyfile(root / name, root / new)


def paint(name: str, value: int, *, channel: int | None = None) -> Callable[[Path], object]:
    """Set the upper left quarter of a map to a value."""

    def break_tree(root: Path) -> None:
        values = np.array(cv2.imread(str(root / name), cv2.IMREAD_UNCHANGED))
        quarter = values[: len(values) // 2, : values.shape[1] // 2]
        quarter[... if channel is None else (..., channel)] = value
        cv2.imwrite(str(root / name), values)

    return break_tree


def replace_map(
    name: str, size: tuple[int, ...], dtype: type = np.uint8, fill: int = 0
) -> Callable[[Path], object]:
    return lambda root: cv2.imwrite(str(root / name), np.full(size, fill, dtype=dtype))


def found(report: CheckReport) -> list[tuple[str, str]]:
    return [(finding.kind, finding.path) for finding in report.findings]


def test_check_tree__whole_trees_are_ok(tree: ToyStreetsTree) -> None:
    source = check_tree("urbansyn", tree.source_root, workers=0)
    target = check_tree("cityscapes", tree.target_root, workers=0)
    assert (source.ok, source.findings, source.split, source.images) == (True, (), "train", 6)
    assert (target.ok, target.findings, target.split, target.images) == (True, (), "train, val", 9)


URBANSYN = {
    "missing-ss": (remove("ss/ss_0002.png"), "missing", "rgb/rgb_0002.png"),
    "missing-panoptic": (
        remove("panoptic/panoptic_0002.png"),
        "missing",
        "rgb/rgb_0002.png",
    ),
    "missing-folder": (remove_folder("panoptic"), "missing", "panoptic"),
    "empty-image": (write("rgb/rgb_0003.png", b""), "unreadable", "rgb/rgb_0003.png"),
    "cut-image": (cut("rgb/rgb_0003.png"), "unreadable", "rgb/rgb_0003.png"),
    "garbled-image": (garble("rgb/rgb_0003.png"), "unreadable", "rgb/rgb_0003.png"),
    "text-for-an-image": (write("rgb/rgb_0003.png", b"<html>"), "unreadable", "rgb/rgb_0003.png"),
    "map-for-an-image": (copy("ss/ss_0003.png", "rgb/rgb_0003.png"), "unreadable", None),
    "image-of-another-size": (
        replace_map("rgb/rgb_0003.png", (20, 30, 3)),
        "size_mismatch",
        "ss/ss_0003.png",
    ),
    "panoptic-of-another-size": (
        replace_map("panoptic/panoptic_0004.png", (20, 30, 4)),
        "size_mismatch",
        "panoptic/panoptic_0004.png",
    ),
    "cut-ss": (cut("ss/ss_0004.png"), "unreadable", "ss/ss_0004.png"),
    "garbled-panoptic": (garble("panoptic/panoptic_0004.png"), "unreadable", None),
    "unknown-class": (paint("ss/ss_0004.png", 77), "unknown_id", "ss/ss_0004.png"),
    "gray-panoptic": (
        replace_map("panoptic/panoptic_0004.png", (48, 96)),
        "malformed",
        "panoptic/panoptic_0004.png",
    ),
    "boxes-no-json": (
        write("bbox2d/bbox2d_0004.json", b"[{"),
        "malformed",
        "bbox2d/bbox2d_0004.json",
    ),
    "panoptic-of-another-frame": (
        replace_map("panoptic/panoptic_0005.png", (48, 96, 4), fill=11),
        "disagreement",
        "panoptic/panoptic_0005.png",
    ),
}


@pytest.mark.parametrize(("break_tree", "kind", "path"), URBANSYN.values(), ids=URBANSYN.keys())
def test_check_tree__urbansyn_fault(
    own_tree: ToyStreetsTree, break_tree: Callable[[Path], object], kind: str, path: str | None
) -> None:
    break_tree(own_tree.source_root)
    report = check_tree("urbansyn", own_tree.source_root, workers=0)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert not report.ok
    assert (errors[0].kind, errors[0].path) == (kind, path or errors[0].path)


CITYSCAPES = {
    "missing-instances": (remove(GT.format(1, "instanceIds")), "missing", IMAGE.format(1)),
    "missing-label-ids": (remove(GT.format(1, "labelIds")), "missing", IMAGE.format(1)),
    "missing-label-folder": (remove_folder("gtFine/train"), "missing", "gtFine/train"),
    "no-instances-at-all": (remove_folder("gtFine"), "missing", "gtFine/train"),
    "malformed-name": (
        rename(IMAGE.format(1), "leftImg8bit/train/toyville/a_b_leftImg8bit.png"),
        "malformed",
        "leftImg8bit/train/toyville/a_b_leftImg8bit.png",
    ),
    "eight-bit-instances": (
        replace_map(GT.format(1, "instanceIds"), (48, 96)),
        "malformed",
        GT.format(1, "instanceIds"),
    ),
    "unknown-instance-class": (
        paint(GT.format(1, "instanceIds"), 34001),
        "unknown_id",
        GT.format(1, "instanceIds"),
    ),
    "unknown-label": (paint(GT.format(1, "labelIds"), 77), "unknown_id", GT.format(1, "labelIds")),
    "instances-of-another-size": (
        replace_map(GT.format(1, "instanceIds"), (3, 4), np.uint16),
        "size_mismatch",
        GT.format(1, "instanceIds"),
    ),
    "road-under-instances": (
        replace_map(GT.format(1, "labelIds"), (48, 96), fill=7),
        "disagreement",
        GT.format(1, "labelIds"),
    ),
    "image-in-two-splits": (
        copy(IMAGE.format(1), VAL_IMAGE.format(0)),
        "duplicate",
        VAL_IMAGE.format(0),
    ),
}


@pytest.mark.parametrize(("break_tree", "kind", "path"), CITYSCAPES.values(), ids=CITYSCAPES.keys())
def test_check_tree__cityscapes_fault(
    own_tree: ToyStreetsTree, break_tree: Callable[[Path], object], kind: str, path: str
) -> None:
    break_tree(own_tree.target_root)
    report = check_tree("cityscapes", own_tree.target_root, workers=0)
    assert not report.ok
    assert (kind, path) in found(report)


def test_check_tree__all_faults_in_one_report(own_tree: ToyStreetsTree) -> None:
    root = own_tree.target_root
    for break_tree in (
        remove(GT.format(0, "instanceIds")),
        remove(IMAGE.format(1)),
        write(IMAGE.format(0), b""),
        cut(IMAGE.format(2)),
        cut(GT.format(2, "instanceIds")),
        replace_map(GT.format(2, "labelIds"), (5, 6)),
        paint(GT.format(3, "instanceIds"), 50123),
        replace_map(GT.format(4, "instanceIds"), (48, 96)),
        replace_map(GT.format(5, "instanceIds"), (48, 96), np.uint16, 7),
        copy(IMAGE.format(3), VAL_IMAGE.format(1)),
        replace_map("gtFine/val/toyburg/toyburg_000002_000019_gtFine_labelIds.png", (48, 96)),
        copy(IMAGE.format(3), "leftImg8bit/train/toyville/copy of it_leftImg8bit.png"),
        write("leftImg8bit/train/toyville/notes.txt", b"no picture, no matter"),
    ):
        break_tree(root)
    report = check_tree("cityscapes", root, workers=0)
    assert found(report) == [
        ("missing", IMAGE.format(0)),
        ("orphan", GT.format(1, "instanceIds")),
        ("orphan", GT.format(1, "labelIds")),
        ("unreadable", GT.format(2, "instanceIds")),
        ("unreadable", IMAGE.format(0)),
        ("unreadable", IMAGE.format(2)),
        ("unknown_id", GT.format(3, "instanceIds")),
        ("empty", IMAGE.format(5)),
        ("duplicate", VAL_IMAGE.format(1)),
        ("malformed", GT.format(4, "instanceIds")),
        ("malformed", "leftImg8bit/train/toyville/copy of it_leftImg8bit.png"),
    ]
    assert report.images == 8
    assert report.counts()["unreadable"] == 3


def test_check_tree__misfit_of_a_map_whose_partner_is_cut_needs_the_image(
    own_tree: ToyStreetsTree,
) -> None:
    root = own_tree.target_root
    cut(GT.format(2, "instanceIds"))(root)
    replace_map(GT.format(2, "labelIds"), (5, 6))(root)
    report = check_tree("cityscapes", root, split="train", workers=0)
    assert found(report) == [
        ("unreadable", GT.format(2, "instanceIds")),
        ("size_mismatch", GT.format(2, "labelIds")),
    ]


def test_check_tree__lists_more_than_five_of_a_kind(own_tree: ToyStreetsTree) -> None:
    for path in (own_tree.source_root / "ss").iterdir():
        path.unlink()
    report = check_tree("urbansyn", own_tree.source_root, workers=0)
    assert found(report) == [("missing", f"rgb/rgb_000{n}.png") for n in range(1, 7)]
    assert report.images == 6


def test_check_tree__image_of_missing_labels_is_read_too(own_tree: ToyStreetsTree) -> None:
    remove("ss/ss_0002.png")(own_tree.source_root)
    cut("rgb/rgb_0002.png")(own_tree.source_root)
    report = check_tree("urbansyn", own_tree.source_root, workers=0)
    assert found(report) == [("missing", "rgb/rgb_0002.png"), ("unreadable", "rgb/rgb_0002.png")]


def test_check_tree__image_without_instances_is_a_note(own_tree: ToyStreetsTree) -> None:
    root = own_tree.target_root
    replace_map(GT.format(1, "instanceIds"), (48, 96), np.uint16, 7)(root)
    report = check_tree("cityscapes", root, workers=0)
    assert found(report) == [("empty", IMAGE.format(1))]
    assert report.findings[0].severity == "note"
    assert report.ok


def test_check_tree__optional_file_without_image_is_a_note(own_tree: ToyStreetsTree) -> None:
    root = own_tree.source_root
    (root / "bbox2d").mkdir(exist_ok=True)
    for name in ("bbox2d_0001.json", "bbox2d_0999.json", "read_me.txt"):
        (root / "bbox2d" / name).write_text("[]")
    report = check_tree("urbansyn", root, workers=0)
    assert found(report) == [("orphan", "bbox2d/bbox2d_0999.json")]
    assert report.findings[0].severity == "note"
    assert report.ok


def test_check_tree__test_split_without_labels_is_a_note(own_tree: ToyStreetsTree) -> None:
    root = own_tree.target_root
    (root / "leftImg8bit/test/toytown").mkdir(parents=True)
    picture = "leftImg8bit/test/toytown/toytown_000000_000019_leftImg8bit.png"
    replace_map(picture, (48, 96, 3))(root)
    report = check_tree("cityscapes", root, workers=0)
    assert (report.split, report.images, report.ok) == ("train, val, test", 10, True)
    assert found(report) == [("missing", "gtFine/test")]
    assert not check_tree("cityscapes", root, split="test", workers=0).ok


@pytest.mark.parametrize("split", ["train", "val"])
def test_check_tree__duplicates_concern_either_split(own_tree: ToyStreetsTree, split: str) -> None:
    copy(IMAGE.format(1), VAL_IMAGE.format(0))(own_tree.target_root)
    report = check_tree("cityscapes", own_tree.target_root, split=split, workers=0)
    assert found(report) == [("duplicate", VAL_IMAGE.format(0))]
    assert f"same content in {IMAGE.format(1)} of train" in report.findings[0].message


def test_check_tree__nothing_there(tmp_path: Path) -> None:
    report = check_tree("urbansyn", tmp_path / "nowhere", workers=0)
    assert (report.images, report.ok) == (0, False)
    assert "root must be an UrbanSyn folder, got no such folder" in report.findings[0].message


def test_check_tree__unknown_split(tree: ToyStreetsTree) -> None:
    report = check_tree("cityscapes", tree.target_root, split="trian", workers=0)
    assert "(train, val), got 'trian'" in report.findings[0].message


@pytest.mark.parametrize("name", ["citiscapes", "Cityscapes"])
def test_check_tree__unknown_format_suggests_the_nearest(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"FORMAT must be one of .*Did you mean cityscapes\?"):
        check_tree(name, tmp_path)


def test_check_tree__folder_of_images_counts_each_once(own_tree: ToyStreetsTree) -> None:
    root = own_tree.source_root / "rgb"
    (root / "val").mkdir()
    rename("rgb_0006.png", "val/rgb_0006.png")(root)
    cut("rgb_0002.png")(root)
    report = check_tree("images", root, workers=0)
    assert report.images == 6
    assert found(report) == [("unreadable", "rgb_0002.png")]


def test_check_tree__coco_faults(own_tree: ToyStreetsTree, tmp_path: Path) -> None:
    root = export_coco(UrbanSyn(own_tree.source_root), tmp_path / "coco", workers=0)
    remove("images/rgb_0001.png")(root)
    remove("images/rgb_0002.png")(root)
    (root / "images/rgb_0003.png").unlink()  # a link: the original stays as it is
    replace_map("images/rgb_0003.png", (5, 6, 3))(root)
    report = check_tree("coco", root, workers=0)
    assert found(report) == [
        ("missing", "images/rgb_0001.png"),
        ("missing", "images/rgb_0002.png"),
        ("size_mismatch", "images/rgb_0003.png"),
    ]


def test_image_checks__travel_to_other_processes(tree: ToyStreetsTree) -> None:
    root = tree.source_root
    opened = open_splits(UrbanSyn, root, None, asked_for="train")
    listing = list_split(
        UrbanSyn, root, "train", opened["train"], None, is_asked_for=True, with_labels=True
    )
    checks = pickle.loads(pickle.dumps(image_checks([listing])))
    assert (len(checks), checks(5)) == (6, [])


@pytest.mark.parametrize("split", [None, "train", "other"])
def test_check_tree__opens_the_images_of_a_split_once(
    tree: ToyStreetsTree, monkeypatch: pytest.MonkeyPatch, split: str | None
) -> None:
    opened: list[tuple[str, bool]] = []
    make = ImageTree.__init__

    def count(self: ImageTree, root: Path, split: str | None = None, **how: Any) -> None:
        opened.append((str(split), how["require_labels"]))
        make(self, root, split, **how)

    monkeypatch.setattr(ImageTree, "__init__", count)
    check_tree("cityscapes", tree.target_root, split=split, workers=0)
    images = [name for name, with_labels in opened if not with_labels]
    assert sorted(images) == sorted({"train", "val", "test", split or "train"})
    assert len(opened) == len(set(opened))


@pytest.mark.slow
def test_check_tree__processes_find_the_same(own_tree: ToyStreetsTree) -> None:
    cut(IMAGE.format(2))(own_tree.target_root)
    calls: list[tuple[int, int]] = []
    one = check_tree("cityscapes", own_tree.target_root, workers=0)
    two = check_tree(
        "cityscapes", own_tree.target_root, workers=2, progress=lambda *call: calls.append(call)
    )
    assert one == two
    assert calls == [(n, 9) for n in range(1, 10)]


def test_to_text__names_every_finding() -> None:
    findings = tuple(Finding("orphan", f"ss/{n}.png", "ss map has no image") for n in range(7))
    report = CheckReport("UrbanSyn", Path("/data"), "train", 3, findings)
    lines = report.to_text().splitlines()
    assert lines[:2] == ["UrbanSyn train: 3 images, 7 errors, 0 notes (/data)", "orphan (7)"]
    assert lines[-1] == "  ss/6.png: ss map has no image"


def test_to_json__holds_everything() -> None:
    findings = (Finding("empty", "a.png", "image shows no instance", "note"),)
    report = CheckReport("UrbanSyn", Path("/data"), "train", 1, findings)
    assert json.loads(json.dumps(report.to_json())) == {
        "name": "UrbanSyn",
        "root": "/data",
        "split": "train",
        "images": 1,
        "ok": True,
        "counts": {"empty": 1},
        "findings": [
            {
                "kind": "empty",
                "path": "a.png",
                "message": "image shows no instance",
                "severity": "note",
            }
        ],
    }
