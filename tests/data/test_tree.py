"""What is shared by all formats: instances or the semantic map alone equal those read together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.published_trees import write_tree
from uda4inst.data.config import DatasetRef, FormatName
from uda4inst.data.readers import ImageFolder, UrbanSyn
from uda4inst.data.stream.dataset import has_labels, open_dataset
from uda4inst.data.tree import DatasetOptions, check_sizes
from uda4inst.errors import UserError
from uda4inst.formats.image_list import ImageList, read_image_list, write_image_list


@pytest.mark.parametrize("name", ["urbansyn", "cityscapes", "synscapes", "synthia", "kitti360"])
def test_image_tree__labels_alone_are_those_read_together(tmp_path: Path, name: FormatName) -> None:
    ref = DatasetRef.model_validate(
        {"format": name, "root": str(write_tree(name, tmp_path)), "min_area": 40}
    )
    dataset = open_dataset(ref, domain="source", labels="semantic")
    for index in range(len(dataset)):
        together, alone = dataset.read_labels(index), dataset.read_instances(index)
        assert len(alone.labels) > 0
        np.testing.assert_array_equal(alone.ids, together.ids)
        np.testing.assert_array_equal(alone.labels, together.labels)
        np.testing.assert_array_equal(dataset.read_semantic(index), together.semantic)


def test_urbansyn__semantic_alone_from_regular_ids_and_colours(tmp_path: Path) -> None:
    root = write_tree("urbansyn", tmp_path)
    dataset = open_dataset(
        DatasetRef.model_validate({"format": "urbansyn", "root": str(root)}),
        domain="source",
        labels="semantic",
    )
    expected = dataset.read_semantic(0)
    path = root / "ss/ss_0001.png"
    ids = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
    table = np.full(256, 0, np.uint8)
    table[:19] = ids
    regular = table[np.where(expected == 255, 255, expected)]
    assert cv2.imwrite(str(path), np.dstack([np.zeros_like(regular), regular, regular]))
    np.testing.assert_array_equal(dataset.read_semantic(0), expected)


@pytest.mark.parametrize(
    ("name", "instances", "semantic"),
    [("gta5", False, True), ("images", False, False), ("cityscapes", True, True)],
)
def test_has_labels__by_format(name: FormatName, instances: bool, semantic: bool) -> None:
    ref = DatasetRef.model_validate({"format": name, "root": "anywhere"})
    assert has_labels(ref, "instances") is instances
    assert has_labels(ref, "semantic") is semantic


def test_image_tree__only_listed_images_in_the_order_of_the_tree(tmp_path: Path) -> None:
    root = write_tree("urbansyn", tmp_path)
    ref = DatasetRef.model_validate({"format": "urbansyn", "root": str(root)})
    whole = open_dataset(ref, domain="source", labels="instances")
    names = [whole.basename(index) for index in range(len(whole))]
    assert len(names) > 1
    images = tmp_path / "list.txt"
    write_image_list(images, [names[-1]])
    some = open_dataset(
        ref.model_copy(update={"only": str(images)}), domain="source", labels="instances"
    )
    assert [some.basename(index) for index in range(len(some))] == [names[-1]]
    np.testing.assert_array_equal(some.read_image(0), whole.read_image(len(whole) - 1))
    assert whole.places(read_image_list(images)) == [len(whole) - 1]
    write_image_list(images, [names[-1], "elsewhere"])
    with pytest.raises(UserError, match=r"image list must name images .* got 'elsewhere'"):
        open_dataset(
            ref.model_copy(update={"only": str(images)}), domain="source", labels="instances"
        )


def test_image_tree__a_list_names_images_by_the_end_of_their_path(tmp_path: Path) -> None:
    for name in ("day/0001.png", "day/0002.png", "night/0003.png", "cam_000001_000002_left.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))

    def listed(*names: str) -> list[str]:
        options = DatasetOptions(only=ImageList(names))
        tree = ImageFolder(tmp_path, require_labels=False, options=options)
        return [record.sample_id for record in tree.records]

    assert listed("day/0001", "0003.png") == ["day/0001", "night/0003"]
    assert listed(f"{tmp_path.name}/day/0002.png", "./night/0003") == ["day/0002", "night/0003"]
    assert listed("elsewhere\\cam_000001_000002_left.png") == ["cam_000001_000002_left"]
    assert listed(str(tmp_path / "night/0003.png")) == ["night/0003"]
    for name in ("night/0001", "night/0002.png", "other/day2/0001", "cam_000001_000002_right"):
        with pytest.raises(UserError, match=f"must name images of the data set .*{name}"):
            listed(name)


def test_check_sizes__names_the_label_file_that_differs(tmp_path: Path) -> None:
    for name, size in (("ss/ss_1", (8, 8)), ("panoptic/panoptic_1", (4, 8)), ("rgb/rgb_1", (8, 8))):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir()
        cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))
    with pytest.raises(UserError, match=r"got \(4, 8\) \([^ ]*panoptic_1.png\)"):
        check_sizes(UrbanSyn(tmp_path))
