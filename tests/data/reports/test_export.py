"""Export: what is written means the same when it is read back, by us and by pycocotools."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from uda4inst.classes import BACKGROUND_LABEL_ID
from uda4inst.data.readers import GTA5, Cityscapes, CocoFolder, UrbanSyn
from uda4inst.data.records import LabelArrays
from uda4inst.data.reports.export import export_cityscapes, export_coco
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.toystreets.write import ToyStreetsTree


def objects(labels: LabelArrays) -> list[tuple[int, bytes]]:
    """Class and mask of every instance, in no order."""
    masks = [np.packbits(labels.ids == n + 1).tobytes() for n in range(len(labels.labels))]
    return sorted(zip(labels.labels.tolist(), masks, strict=True))


def assert_same_instances(one: LabelArrays, other: LabelArrays) -> None:
    assert objects(one) == objects(other)
    assert np.array_equal(one.ids == -1, other.ids == -1)


def write_cityscapes(root: Path, raw: list[list[int]], labels: list[list[int]]) -> Cityscapes:
    """Write one image of these raw instance ids and label ids, and open the tree."""
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / "train/aachen").mkdir(parents=True)
    name = "train/aachen/aachen_000007_000019"
    image = np.zeros((len(raw), len(raw[0]), 3), dtype=np.uint8)
    cv2.imwrite(str(root / "leftImg8bit" / f"{name}_leftImg8bit.png"), image)
    truth = str(root / "gtFine" / name)
    cv2.imwrite(f"{truth}_gtFine_instanceIds.png", np.array(raw, dtype=np.uint16))
    cv2.imwrite(f"{truth}_gtFine_labelIds.png", np.array(labels, dtype=np.uint8))
    return Cityscapes(root, "train")


def read_document(out: Path, split: str = "train") -> dict:
    return json.loads((out / f"annotations/instances_{split}.json").read_text())


def source(tree: ToyStreetsTree) -> ImageTree:
    return UrbanSyn(tree.source_root)


def target(tree: ToyStreetsTree) -> ImageTree:
    return Cityscapes(tree.target_root, "val")


BOTH = pytest.mark.parametrize("open_tree", [source, target])


# pycocotools' own array type does not know numpy 2's way of copying.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@BOTH
def test_export_coco__pycocotools_reads_the_same_masks(
    tree: ToyStreetsTree, tmp_path: Path, open_tree, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = open_tree(tree)
    out = export_coco(dataset, tmp_path / "coco", workers=0)
    coco = COCO(out / f"annotations/instances_{dataset.split}.json")
    assert "index created" in capsys.readouterr().out
    for index, record in enumerate(dataset.records):
        labels = dataset.read_labels(index)
        entries = coco.loadAnns(coco.getAnnIds(imgIds=[index + 1], iscrowd=False))
        masks = [np.packbits(coco.annToMask(entry).astype(bool)).tobytes() for entry in entries]
        classes = [entry["category_id"] - 1 for entry in entries]
        assert sorted(zip(classes, masks, strict=True)) == objects(labels)
        assert [entry["area"] for entry in entries] == labels.areas().tolist()
        crowds = coco.loadAnns(coco.getAnnIds(imgIds=[index + 1], iscrowd=True))
        ignored = sum((coco.annToMask(crowd) for crowd in crowds), np.zeros(labels.ids.shape))
        assert np.array_equal(ignored, labels.ids == -1)
        assert coco.imgs[index + 1]["file_name"] == f"{record.sample_id}.png"


def test_export_coco__ids_count_from_one(tree: ToyStreetsTree, tmp_path: Path) -> None:
    document = read_document(export_coco(source(tree), tmp_path / "coco", workers=0))
    annotations = document["annotations"]
    assert [image["id"] for image in document["images"]] == [1, 2, 3, 4, 5, 6]
    assert [entry["id"] for entry in annotations] == list(range(1, len(annotations) + 1))
    assert [category["id"] for category in document["categories"]] == list(range(1, 9))
    assert {type(entry["segmentation"]["counts"]) for entry in annotations} == {str}


@BOTH
def test_export_coco__is_read_back_the_same(
    tree: ToyStreetsTree, tmp_path: Path, open_tree
) -> None:
    dataset = open_tree(tree)
    again = CocoFolder(export_coco(dataset, tmp_path / "coco", workers=0), dataset.split)
    assert [r.sample_id for r in again.records] == [r.sample_id for r in dataset.records]
    for index in range(len(dataset)):
        assert np.array_equal(dataset.read_image(index), again.read_image(index))
        assert_same_instances(dataset.read_labels(index), again.read_labels(index))


def test_export_coco__areas_of_one_class_are_crowds(tmp_path: Path) -> None:
    raw = [[24, 24, 7, 24], [25, 7, 7, 7], [26000, 7, 24, 7]]
    labels = [[24, 24, 7, 24], [25, 7, 7, 7], [26, 7, 24, 7]]
    dataset = write_cityscapes(tmp_path / "tree", raw, labels)
    entries = read_document(export_coco(dataset, tmp_path / "coco"))["annotations"]
    assert [(e["category_id"], e["iscrowd"], e["bbox"]) for e in entries] == [
        (3, 0, [0, 2, 1, 1]),
        (1, 1, [0, 0, 2, 1]),
        (1, 1, [3, 0, 1, 1]),
        (1, 1, [2, 2, 1, 1]),
        (2, 1, [0, 1, 1, 1]),
    ]


def test_export_coco__area_of_no_class_is_a_crowd_of_each(tmp_path: Path) -> None:
    dataset = write_cityscapes(tmp_path / "tree", [[29, 7], [26000, 7]], [[29, 7], [26, 7]])
    out = export_coco(dataset, tmp_path / "coco")
    entries = read_document(out)["annotations"]
    assert [e["category_id"] for e in entries if e["iscrowd"]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert CocoFolder(out).read_labels(0).ids.tolist() == [[-1, 0], [1, 0]]


@BOTH
def test_export_cityscapes__is_read_back_the_same(
    tree: ToyStreetsTree, tmp_path: Path, open_tree
) -> None:
    dataset = open_tree(tree)
    again = Cityscapes(export_cityscapes(dataset, tmp_path / "out", split="val", workers=0), "val")
    assert len(again) == len(dataset)
    for index in range(len(dataset)):
        before, after = dataset.read_labels(index), again.read_labels(index)
        assert np.array_equal(dataset.read_image(index), again.read_image(index))
        assert_same_instances(before, after)
        assert np.array_equal(before.semantic, after.semantic)


def test_export_cityscapes__names(tree: ToyStreetsTree, tmp_path: Path) -> None:
    out = export_cityscapes(source(tree), tmp_path / "out", split="train", workers=0)
    picture = out / "leftImg8bit/train/urbansyn/urbansyn_000001_000019_leftImg8bit.png"
    with (out / "names.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["sample_id", "cityscapes_name"]
    assert rows[2] == ["rgb_0002", "urbansyn_000001_000019"]
    assert len(rows) == 7
    assert picture.read_bytes() == (tree.source_root / "rgb/rgb_0002.png").read_bytes()


def test_export_cityscapes__ignored_without_a_class_stays_ignored(tmp_path: Path) -> None:
    raw, labels = [[30, 29, 26000], [24, 1, 33007]], [[0, 29, 26], [24, 1, 33]]
    dataset = write_cityscapes(tmp_path / "tree", raw, labels)
    again = Cityscapes(export_cityscapes(dataset, tmp_path / "out", split="train"))
    assert again.read_labels(0).ids.tolist() == [[-1, -1, 1], [-1, 0, 2]]
    assert again.read_labels(0).semantic.tolist() == dataset.read_labels(0).semantic.tolist()


def test_export_cityscapes__jpegs_become_pngs(tmp_path: Path) -> None:
    root = tmp_path / "own"
    (root / "annotations").mkdir(parents=True)
    ramp = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    Image.fromarray(ramp).save(root / "one.jpg")
    document = {
        "images": [{"id": 1, "file_name": "one.jpg", "height": 16, "width": 16}],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 3,
                "iscrowd": 0,
                "segmentation": {"size": [16, 16], "counts": [0, 16, 240]},
            }
        ],
    }
    (root / "annotations/train.json").write_text(json.dumps(document))
    dataset = CocoFolder(root)
    again = Cityscapes(export_cityscapes(dataset, tmp_path / "out", split="train"))
    assert np.array_equal(again.read_image(0), dataset.read_image(0))
    assert_same_instances(again.read_labels(0), dataset.read_labels(0))


def test_export__semantic_data_sets(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "gta5" / kind).mkdir(parents=True)
    Image.new("RGB", (4, 3)).save(tmp_path / "gta5/images/00001.png")
    Image.fromarray(np.array([[7, 26], [0, 23]], np.uint8)).resize((4, 3), 0).save(
        tmp_path / "gta5/labels/00001.png"
    )
    dataset = GTA5(tmp_path / "gta5")
    with pytest.raises(UserError, match="must have instances to become COCO's, got GTA5"):
        export_coco(dataset, tmp_path / "coco")
    again = Cityscapes(export_cityscapes(dataset, tmp_path / "out", split="train"))
    assert np.array_equal(again.read_labels(0).semantic, dataset.read_labels(0).semantic)
    assert np.array_equal(again.read_labels(0).ids, dataset.read_labels(0).ids)


def test_export__existing_out_is_refused(tree: ToyStreetsTree, tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    with pytest.raises(UserError, match=r"OUT must not be there, got an existing folder .*coco"):
        export_coco(source(tree), tmp_path / "coco")
    assert list(tmp_path.iterdir()) == [tmp_path / "coco"]


def test_export__failure_leaves_nothing_behind(own_tree: ToyStreetsTree, tmp_path: Path) -> None:
    (own_tree.source_root / "ss/ss_0004.png").write_bytes(b"")
    out = tmp_path / "below" / "out"
    with pytest.raises(UserError, match=r"ss_0004\.png"):
        export_cityscapes(source(own_tree), out, split="train", workers=0)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("split", ["", "a/b", ".."])
def test_export_cityscapes__split_is_a_folder_name(
    tree: ToyStreetsTree, tmp_path: Path, split: str
) -> None:
    with pytest.raises(UserError, match="split must be a folder's name"):
        export_cityscapes(source(tree), tmp_path / "out", split=split)


def test_export__pictures_are_linked(tree: ToyStreetsTree, tmp_path: Path) -> None:
    out = export_coco(source(tree), tmp_path / "coco", workers=0)
    linked = (out / "images/rgb_0001.png").stat()
    assert linked.st_ino == (tree.source_root / "rgb/rgb_0001.png").stat().st_ino


def test_export__pictures_are_copied_where_links_fail(
    tree: ToyStreetsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("uda4inst.data.reports.export.os.link", refuse)
    out = export_coco(source(tree), tmp_path / "coco", workers=0)
    original = tree.source_root / "rgb/rgb_0001.png"
    assert (out / "images/rgb_0001.png").read_bytes() == original.read_bytes()
    assert (out / "images/rgb_0001.png").stat().st_ino != original.stat().st_ino


def test_export_cityscapes__what_is_known_to_be_nothing_stays_no_void(
    tree: ToyStreetsTree, tmp_path: Path
) -> None:
    labelled = export_coco(source(tree), tmp_path / "coco")
    dataset = CocoFolder(labelled, "train")
    exported = Cityscapes(
        export_cityscapes(dataset, tmp_path / "city", split="val", workers=0), "val"
    )
    before, after = dataset.read_instance_ids(0), exported.read_instance_ids(0)
    assert (before == BACKGROUND_LABEL_ID).any()
    np.testing.assert_array_equal(after == 29_000, before == BACKGROUND_LABEL_ID)
    np.testing.assert_array_equal(after == 0, before == 0)
    assert_same_instances(dataset.read_labels(0), exported.read_labels(0))


def test_export_cityscapes__caravans_with_a_number_keep_it(tmp_path: Path) -> None:
    dataset = write_cityscapes(tmp_path / "own", [[26_000, 29_001, 29, 7]], [[26, 29, 29, 7]])
    out = export_cityscapes(dataset, tmp_path / "out", split="val", workers=0)
    assert Cityscapes(out, "val").read_instance_ids(0).tolist() == [[26_000, 29_001, 29, 7]]
