"""The Cityscapes loader, against files written here value by value."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from uda4inst.classes import BACKGROUND_LABEL_ID, THING_NAMES
from uda4inst.data.readers import Cityscapes
from uda4inst.data.tree import DatasetOptions, ObjectFilter
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap
from uda4inst.toystreets.write import ToyStreetsTree

NAME = "aachen_000000_000019"


def write_image(
    root: Path,
    raw: list[list[int]],
    *,
    labels: list[list[int]] | None = None,
    name: str = NAME,
    split: str = "train",
) -> Cityscapes:
    """Write one image with these raw instance ids (and label ids), and open the tree."""
    city = name.split("_")[0]
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / split / city).mkdir(parents=True, exist_ok=True)
    values = np.array(raw, dtype=np.uint16)
    image = np.arange(values.size * 3, dtype=np.uint8).reshape(*values.shape, 3)
    cv2.imwrite(str(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"), image)
    truth = root / "gtFine" / split / city
    cv2.imwrite(str(truth / f"{name}_gtFine_instanceIds.png"), values)
    if labels is not None:
        stored = np.array(labels, dtype=np.uint8)
        cv2.imwrite(str(truth / f"{name}_gtFine_labelIds.png"), stored)
    return Cityscapes(root, split)


def test_read_labels__objects_in_order_of_raw_ids(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[7, 33001, 24000], [26007, 26002, 24000]]).read_labels(0)
    assert read.ids.tolist() == [[0, 4, 1], [3, 2, 1]]
    assert read.labels.tolist() == [0, 2, 2, 7]
    assert (read.ids.dtype, read.labels.dtype, read.semantic.dtype) == (
        np.int32,
        np.int64,
        np.uint8,
    )


def test_read_labels__groups_and_plain_caravans_are_ignored(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[24, 25, 26, 33], [29, 30, 26000, 23]]).read_labels(0)
    assert read.ids.tolist() == [[-1, -1, -1, -1], [-1, -1, 1, 0]]
    assert read.semantic.tolist() == [[11, 12, 13, 18], [255, 255, 13, 10]]


def test_read_labels__caravan_instances_are_background_without_class(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[29000, 30001, 27000]]).read_labels(0)
    assert read.ids.tolist() == [[0, 0, 1]]
    assert read.labels.tolist() == [3]
    assert read.semantic.tolist() == [[255, 255, 14]]


def test_read_labels__instance_numbers_above_255_survive(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[24999, 24743, 24487]]).read_labels(0)
    assert read.ids.tolist() == [[3, 2, 1]]


def test_read_labels__stuff_with_a_number_is_stuff(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[11003, 7000, 31000]]).read_labels(0)
    assert read.ids.tolist() == [[0, 0, 1]]
    assert read.semantic.tolist() == [[2, 0, 16]]


def test_read_labels__semantic_comes_from_label_ids(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[26000, 7, 7]], labels=[[26, 8, 1]]).read_labels(0)
    assert read.semantic.tolist() == [[13, 1, 255]]


def test_read_labels__license_plate_is_void(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[26000, 0]], labels=[[26, 255]]).read_labels(0)
    assert read.semantic.tolist() == [[13, 255]]


def test_read_labels__image_without_objects(tmp_path: Path) -> None:
    sample = write_image(tmp_path, [[7, 8], [11, 0]]).sample(0)
    assert len(sample.known_instances()) == 0
    assert int(sample.known_instances().ids.abs().sum()) == 0


def test_sample__image_is_rgb_between_0_and_1(tmp_path: Path) -> None:
    sample = write_image(tmp_path, [[7, 26000]]).sample(0)
    expected = torch.tensor([[2, 5], [1, 4], [0, 3]], dtype=torch.float32) / 255
    assert torch.equal(sample.image[:, 0], expected)
    assert (sample.sample_id, sample.domain) == (NAME, "target")


def test_records__sorted_with_paths_alone(tmp_path: Path) -> None:
    for name in ("bochum_000001_000019", "aachen_000002_000019", "aachen_000001_000019"):
        dataset = write_image(tmp_path, [[7]], name=name)
    assert [record.sample_id for record in dataset.records] == [
        "aachen_000001_000019",
        "aachen_000002_000019",
        "bochum_000001_000019",
    ]
    assert dataset.basename(2) == "bochum_000001_000019"
    assert dataset.instance_ids_path(2).name == "bochum_000001_000019_gtFine_instanceIds.png"


def test_cityscapes__listing_opens_no_file(own_tree: ToyStreetsTree) -> None:
    for path in own_tree.target_root.rglob("*.png"):
        path.write_bytes(b"not a picture")
    assert len(Cityscapes(own_tree.target_root, "train")) == 6


def test_size_of__reads_the_header_alone(own_tree: ToyStreetsTree) -> None:
    dataset = Cityscapes(own_tree.target_root, "val")
    path = dataset.records[1].image
    path.write_bytes(path.read_bytes()[:40])
    assert dataset.size_of(1) == (48, 96)


def test_cityscapes__without_labels_never_looks_at_them(own_tree: ToyStreetsTree) -> None:
    for path in (own_tree.target_root / "gtFine").rglob("*.png"):
        path.unlink()
    dataset = Cityscapes(own_tree.target_root, "train", require_labels=False)
    assert dataset.read_image(0).shape == (48, 96, 3)
    with pytest.raises(UserError, match="opened without labels"):
        dataset.read_labels(0)


def test_read_labels__unknown_class_id(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 34000, 26000]])
    with pytest.raises(UserError, match=r"class id must lie in \[0, 33\].*34000 .*instanceIds.png"):
        dataset.read_labels(0)


def test_read_labels__unknown_label_id(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 7]], labels=[[7, 77]])
    with pytest.raises(UserError, match=r"class id must lie in .* got 77 .*labelIds.png"):
        dataset.read_labels(0)


def test_read_labels__eight_bit_instance_map(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 26000]])
    cv2.imwrite(str(dataset.instance_ids_path(0)), np.zeros((1, 2), dtype=np.uint8))
    with pytest.raises(UserError, match=r"must be a PNG of 16-bit gray, got 8-bit gray .*lost"):
        dataset.read_labels(0)


def test_sample__labels_of_another_size(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 26000]])
    cv2.imwrite(str(dataset.instance_ids_path(0)), np.zeros((3, 4), dtype=np.uint16))
    with pytest.raises(UserError, match=r"image's size \(1, 2\), got \(3, 4\) .*instanceIds.png"):
        dataset.sample(0)


def test_read_labels__maps_of_different_size(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 26000]], labels=[[7], [7]])
    with pytest.raises(UserError, match=r"size \(1, 2\), got \(2, 1\) .*labelIds.png"):
        dataset.read_labels(0)


def test_cityscapes__missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="root must be a Cityscapes folder, got no such folder"):
        Cityscapes(tmp_path / "nowhere", "train")


def test_cityscapes__missing_image_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="root must hold the folder leftImg8bit"):
        Cityscapes(tmp_path, "train")


@pytest.mark.parametrize("split", ["test", "", "..", "train/toyville"])
def test_cityscapes__unknown_split_lists_the_known(tree: ToyStreetsTree, split: str) -> None:
    with pytest.raises(UserError, match=r"leftImg8bit \(train, val\), got"):
        Cityscapes(tree.target_root, split)


def test_cityscapes__missing_label_folder(own_tree: ToyStreetsTree) -> None:
    (own_tree.target_root / "gtFine").rename(own_tree.target_root / "gtCoarse")
    with pytest.raises(UserError, match="split 'train' must have labels in gtFine, got no such"):
        Cityscapes(own_tree.target_root, "train")


def test_cityscapes__empty_split(own_tree: ToyStreetsTree) -> None:
    (own_tree.target_root / "leftImg8bit" / "extra").mkdir()
    with pytest.raises(UserError, match="split must hold images named CITY_000000_000000_leftImg"):
        Cityscapes(own_tree.target_root, "extra")


def test_cityscapes__half_written_tree_names_every_kind_of_gap(own_tree: ToyStreetsTree) -> None:
    images = sorted((own_tree.target_root / "leftImg8bit" / "train").rglob("*.png"))
    truth = own_tree.target_root / "gtFine" / "train"
    images[0].unlink()
    next(truth.rglob("toyville_000002_*_instanceIds.png")).unlink()
    next(truth.rglob("toyville_000004_*_labelIds.png")).unlink()
    with pytest.raises(UserError) as caught:
        Cityscapes(own_tree.target_root, "train")
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert "its instance map, got 1 of 5 images without: toyville_000002_000019" in lines[0]
    assert "instance map must have its image, got 1 without: toyville_000000_000019" in lines[1]
    assert "its label map, got 1 of 5 images without: toyville_000004_000019" in lines[2]
    assert "label map must have its image, got 1 without: toyville_000000_000019" in lines[3]
    assert "Restore the missing files" in lines[4]


def test_cityscapes__shows_five_offenders_and_counts_the_rest(own_tree: ToyStreetsTree) -> None:
    for path in (own_tree.target_root / "gtFine" / "train").rglob("*_instanceIds.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"6 of 6 images without: .*000004_000019, and 1 more"):
        Cityscapes(own_tree.target_root, "train")


def test_cityscapes__malformed_name(own_tree: ToyStreetsTree) -> None:
    folder = own_tree.target_root / "leftImg8bit" / "train" / "toyville"
    (folder / "toyville_000001_leftImg8bit.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"named CITY_SEQUENCE_FRAME_leftImg8bit.png.*got 1 others"):
        Cityscapes(own_tree.target_root, "train")


@pytest.mark.parametrize(
    ("options", "small"),
    [
        (DatasetOptions(), 26_001),
        (DatasetOptions(class_map=ClassMap(tuple((n, n) for n in sorted(THING_NAMES)))), 26_001),
        (DatasetOptions(objects=ObjectFilter(min_area=2)), 26),
    ],
    ids=["as it is", "class map", "filter"],
)
def test_read_instance_ids__a_filter_holds_and_caravans_are_no_void(
    tmp_path: Path, options: DatasetOptions, small: int
) -> None:
    write_image(tmp_path, [[26_000, 26_000, 26_001, 29_000, 30_007, 29, 7]])
    found = Cityscapes(tmp_path, "train", options=options).read_instance_ids(0)
    assert found[0, :3].tolist() == [26_000, 26_000, small]
    counted = found[0, 3:5].tolist()
    assert counted in ([29_000, 30_007], [BACKGROUND_LABEL_ID] * 2)
    assert found[0, 5:].tolist() in ([29, 7], [0, 7])
