from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers import GTA5, Cityscapes, CocoFolder, UrbanSyn
from uda4inst.data.records import InstanceArrays
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.exchange.standard_dicts import standard_dicts, write_coco_folder
from uda4inst.formats.rle import as_rle, rle_decode


@pytest.fixture(params=["urbansyn", "cityscapes"])
def tree(request: pytest.FixtureRequest, toystreets: Path) -> ImageTree:
    if request.param == "urbansyn":
        return UrbanSyn(toystreets / "urbansyn")
    return Cityscapes(toystreets / "cityscapes", "val")


@pytest.fixture
def dicts(toystreets: Path) -> list[dict[str, Any]]:
    return standard_dicts(Cityscapes(toystreets / "cityscapes", "val"))


def test_standard_dicts__hold_every_object_by_its_pixels(tree: ImageTree) -> None:
    found = standard_dicts(tree)

    assert [entry["image_id"] for entry in found] == list(range(1, len(tree) + 1))
    for index, entry in enumerate(found):
        assert Path(entry["file_name"]) == tree.records[index].image.absolute()
        assert (entry["height"], entry["width"]) == tree.size_of(index)
        labels = tree.read_instances(index)
        objects = [a for a in entry["annotations"] if not a["iscrowd"]]
        assert len(objects) == len(labels.labels) > 0
        masks = [rle_decode(a["segmentation"]) for a in objects]
        for number, label in enumerate(labels.labels.tolist(), start=1):
            own = labels.ids == number
            places = [i for i, mask in enumerate(masks) if np.array_equal(mask, own)]
            assert [objects[i]["category_id"] for i in places] == [label]
            left, top, width, height = objects[places[0]]["bbox"]
            rows, columns = np.nonzero(own)
            assert (left, top) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert objects[places[0]]["bbox_mode"] == 1  # detectron2's XYWH_ABS


def test_standard_dicts__refuse_a_data_set_without_instances(tmp_path: Path) -> None:
    class Empty(GTA5):
        def __init__(self) -> None:
            self.root = tmp_path  # pyright: ignore[reportAttributeAccessIssue]

    with pytest.raises(UserError, match="must have instances for detectron2, got GTA5"):
        standard_dicts(Empty())


def same_objects(one: InstanceArrays, other: InstanceArrays) -> bool:
    def objects(arrays: InstanceArrays) -> set[tuple[int, bytes]]:
        numbered = enumerate(arrays.labels.tolist(), start=1)
        return {(label, (arrays.ids == number).tobytes()) for number, label in numbered}

    return objects(one) == objects(other)


def test_write_coco_folder__reads_back_to_the_same_objects(tree: ImageTree, tmp_path: Path) -> None:
    out = write_coco_folder(standard_dicts(tree), THING_NAMES, tmp_path / "mine", split="val")

    again = CocoFolder(out, "val")
    assert len(again) == len(tree)
    for index in range(len(tree)):
        assert np.array_equal(again.read_image(index), tree.read_image(index))
        assert same_objects(again.read_instances(index), tree.read_instances(index))
    assert (out / "images").is_dir()


def test_write_coco_folder__takes_other_class_lists_and_forms_of_masks(
    dicts: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A detectron2 data set of classes of its own: polygons, boxes by corners, bytes."""
    names = ["traffic light", "automobile", "pedestrian"]
    (entry, *_) = copy.deepcopy(dicts)
    height, width = entry["height"], entry["width"]
    mask = np.zeros((height, width), dtype=bool)
    mask[40:60, 10:30] = True
    code = as_rle({"size": [height, width], "counts": [0, height * width]}, (height, width))
    entry["annotations"] = [
        {"category_id": 0, "segmentation": {**code, "counts": code["counts"].encode()}},
        {
            "category_id": np.int64(1),
            "segmentation": [np.array([10, 40, 30, 40, 30, 60, 10, 60])],
            "bbox": [10, 40, 30, 60],
            "bbox_mode": 0,
        },
    ]

    out = write_coco_folder([entry], names, tmp_path / "mine")

    labels = CocoFolder(out).read_instances(0)
    assert labels.labels.tolist() == [THING_NAMES.index("car")]
    assert np.array_equal(labels.ids == 1, mask)


def broken(entry: dict[str, Any], kind: str) -> None:
    match kind:
        case "category":
            entry["annotations"][0]["category_id"] = 8
        case "text":
            entry["annotations"][0]["category_id"] = "car"
        case "picture":
            entry["file_name"] = "nowhere.png"
        case "height":
            del entry["height"]
        case "mask":
            del entry["annotations"][0]["segmentation"]
        case "mode":
            entry["annotations"][0]["bbox_mode"] = 4


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("category", "category_id 8 of 8 class names"),
        ("text", "category_id 'car' of 8 class names"),
        ("picture", r"entry 1 \(nowhere.png\): no such picture"),
        ("height", "no height"),
        ("mask", "an annotation without segmentation"),
        ("mode", "neither XYXY_ABS nor XYWH_ABS"),
    ],
)
def test_write_coco_folder__refuses_what_is_no_standard_dict(
    dicts: list[dict[str, Any]], tmp_path: Path, kind: str, message: str
) -> None:
    changed = copy.deepcopy(dicts)
    broken(changed[1], kind)

    with pytest.raises(UserError, match=f"got 1 bad of 4: entry 1 .*{message.split(': ')[-1]}"):
        write_coco_folder(changed, THING_NAMES, tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_write_coco_folder__refuses_classes_of_which_none_is_ours(
    dicts: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"one of our classes \(person, .*\), got cat, dog\."):
        write_coco_folder(dicts, ["cat", "dog"], tmp_path / "mine")


def test_write_coco_folder__refuses_no_images_and_one_twice(
    dicts: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="got 0 bad of 0"):
        write_coco_folder([], THING_NAMES, tmp_path / "mine")
    with pytest.raises(UserError, match=r"each picture once, got .*png twice"):
        write_coco_folder([dicts[0], dicts[0]], THING_NAMES, tmp_path / "mine")
