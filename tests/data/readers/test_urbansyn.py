"""The UrbanSyn loader, against files written here value by value."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from uda4inst.data.readers import UrbanSyn
from uda4inst.errors import UserError
from uda4inst.toystreets.write import ToyStreetsTree

Color = tuple[int, int, int]
NONE: Color = (0, 0, 0)


def write_image(
    root: Path,
    ss: np.ndarray | list[list[int]],
    colors: list[list[Color]],
    *,
    number: str = "0001",
    boxes: object = None,
) -> UrbanSyn:
    """Write one frame with these trainIds and panoptic RGB colours, and open the tree."""
    semantic = np.array(ss, dtype=np.uint8)
    rgb = np.array(colors, dtype=np.uint8)
    rgba = np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 255, dtype=np.uint8)])
    image = np.zeros((*semantic.shape[:2], 3), dtype=np.uint8)
    image[...] = (30, 20, 10)  # blue, green, red: OpenCV's order
    for kind, data in (("rgb", image), ("ss", semantic), ("panoptic", rgba)):
        (root / kind).mkdir(exist_ok=True)
        cv2.imwrite(str(root / kind / f"{kind}_{number}.png"), data)
    if boxes is not None:
        (root / "bbox2d").mkdir(exist_ok=True)
        (root / "bbox2d" / f"bbox2d_{number}.json").write_text(json.dumps(boxes))
    return UrbanSyn(root)


def test_read_labels__blue_is_the_class(tmp_path: Path) -> None:
    person, car, motorcycle = (5, 9, 11), (5, 9, 13), (200, 255, 17)
    read = write_image(
        tmp_path, [[11, 13, 13, 17, 0]], [[person, car, car, motorcycle, NONE]]
    ).read_labels(0)
    assert read.ids.tolist() == [[1, 2, 2, 3, 0]]
    assert read.labels.tolist() == [0, 2, 6]
    assert read.semantic.tolist() == [[11, 13, 13, 17, 0]]


def test_read_labels__colour_needs_the_majority_of_ss(tmp_path: Path) -> None:
    real, stuff = (1, 0, 13), (2, 0, 13)
    read = write_image(
        tmp_path, [[13, 13, 0, 2, 2, 13]], [[real, real, real, stuff, stuff, stuff]]
    ).read_labels(0)
    assert read.ids.tolist() == [[1, 1, 1, 0, 0, -1]]


def test_read_labels__half_is_no_majority(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[13, 0]], [[(1, 0, 13), (1, 0, 13)]]).read_labels(0)
    assert read.ids.tolist() == [[-1, 0]]


def test_read_labels__black_red_and_green_pass_the_same_test(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[13, 2]], [[(0, 0, 13), (0, 0, 12)]]).read_labels(0)
    assert read.ids.tolist() == [[1, 0]]


def test_read_labels__things_without_object_are_ignored(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[13, 18, 10, 19]], [[NONE, (3, 3, 200), NONE, NONE]])
    assert read.read_labels(0).ids.tolist() == [[-1, -1, 0, 0]]


@pytest.mark.parametrize("void", [19, 255])
def test_read_labels__unlabelled_is_255(tmp_path: Path, void: int) -> None:
    read = write_image(tmp_path, [[void, 18]], [[NONE, (1, 1, 18)]]).read_labels(0)
    assert read.semantic.tolist() == [[255, 18]]


@pytest.mark.parametrize("channels", [3, 4])
def test_read_labels__ss_with_equal_channels(tmp_path: Path, channels: int) -> None:
    stored = np.repeat(np.array([[[13], [0], [19]]]), channels, axis=2)
    read = write_image(tmp_path, stored, [[(1, 0, 13), NONE, NONE]]).read_labels(0)
    assert read.semantic.tolist() == [[13, 0, 255]]
    assert read.labels.tolist() == [2]


def test_read_labels__regular_ids_are_recognised_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = write_image(tmp_path, [[26, 7, 23, 0]], [[(1, 0, 13), NONE, NONE, NONE]])
    with caplog.at_level(logging.WARNING):
        read = dataset.read_labels(0)
        dataset.read_labels(0)
    assert read.semantic.tolist() == [[13, 0, 10, 255]]
    assert read.labels.tolist() == [2]
    assert [r.message.endswith("not trainIds: read as such") for r in caplog.records] == [True]


def test_read_labels__unknown_class_id(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[13, 99]], [[NONE, NONE]])
    with pytest.raises(UserError, match=r"class id of an ss map must be .* got 99 \(.*ss_0001.png"):
        dataset.read_labels(0)


def test_read_objects__by_colour(tmp_path: Path) -> None:
    boxes = [
        {"bbox": {}, "color": [5, 9, 13, 255], "label": "car", "occlusion_percentage": 25},
        {"bbox": {}, "color": [5, 9, 11, 255], "label": "person", "occlusion_percentage": 80.5},
    ]
    dataset = write_image(
        tmp_path,
        [[11, 13, 17]],
        [[(5, 9, 11), (5, 9, 13), (1, 1, 17)]],
        boxes=boxes,
    )
    np.testing.assert_allclose(dataset.read_objects(0)[1].occlusion, [0.805, 0.25, np.nan])


@pytest.mark.parametrize("boxes", [None, []], ids=["no file", "empty list"])
def test_read_objects__nan_without_boxes(tmp_path: Path, boxes: object) -> None:
    dataset = write_image(tmp_path, [[11]], [[(5, 9, 11)]], boxes=boxes)
    assert np.isnan(dataset.read_objects(0)[1].occlusion).tolist() == [True]


def test_read_objects__malformed_file(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[11]], [[(5, 9, 11)]], boxes=[{"color": [1, 2, 3, 255]}])
    with pytest.raises(UserError, match=r"KeyError: 'occlusion_percentage' .*bbox2d_0001.json"):
        dataset.read_objects(0)


def test_sample__is_rgb_of_the_source(tmp_path: Path) -> None:
    sample = write_image(tmp_path, [[13]], [[(1, 0, 13)]]).sample(0)
    assert (sample.image[:, 0, 0] * 255).round().tolist() == [10, 20, 30]
    assert (sample.sample_id, sample.domain) == ("rgb_0001", "source")


def test_records__sorted_by_number(tmp_path: Path) -> None:
    for number in ("10000", "0002", "0010"):
        dataset = write_image(tmp_path, [[0]], [[NONE]], number=number)
    assert [r.sample_id for r in dataset.records] == ["rgb_0002", "rgb_0010", "rgb_10000"]


def test_urbansyn__other_split(tree: ToyStreetsTree) -> None:
    with pytest.raises(UserError, match=r"split must be 'train' .* got 'val'"):
        UrbanSyn(tree.source_root, "val")


@pytest.mark.parametrize("kind", ["rgb", "ss", "panoptic"])
def test_urbansyn__missing_folder(own_tree: ToyStreetsTree, kind: str) -> None:
    (own_tree.source_root / kind).rename(own_tree.source_root / "elsewhere")
    with pytest.raises(UserError, match=f"root must hold the folder {kind}, got no such folder"):
        UrbanSyn(own_tree.source_root)


def test_urbansyn__no_images(own_tree: ToyStreetsTree) -> None:
    for path in (own_tree.source_root / "rgb").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"images named rgb_0001.png, got none"):
        UrbanSyn(own_tree.source_root)


def test_urbansyn__half_written_tree(own_tree: ToyStreetsTree) -> None:
    (own_tree.source_root / "ss" / "ss_0003.png").unlink()
    (own_tree.source_root / "rgb" / "rgb_0005.png").unlink()
    with pytest.raises(UserError) as caught:
        UrbanSyn(own_tree.source_root)
    message = str(caught.value)
    assert "every image must have its ss map, got 1 of 5 images without: 0003" in message
    assert "every panoptic map must have its image, got 1 without: 0005" in message


def test_read_labels__maps_of_different_size(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[13, 0]], [[(1, 0, 13), NONE]])
    cv2.imwrite(str(dataset.records[0].labels[0]), np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(UserError, match=r"size \(4, 4\), got \(1, 2\) .*panoptic_0001.png"):
        dataset.read_labels(0)
