"""The BDD100K loader, against bitmasks written here value by value."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from uda4inst.classes import BACKGROUND_LABEL_ID
from uda4inst.data.readers import BDD100K
from uda4inst.data.tree import DatasetOptions, ObjectFilter, check_sizes
from uda4inst.errors import UserError
from uda4inst.toystreets import render_scene

IGNORE, CROWD, OCCLUDED, TRUNCATED = 1, 2, 4, 8
PERSON, RIDER, CAR = 1, 2, 3
NONE = (0, 0, 0, 0)
BITMASK = "labels/ins_seg/bitmasks/train/a-1.png"
MASK = "labels/sem_seg/masks/train/a-1.png"


def pixel(category: int, number: int, flags: int = 0) -> tuple[int, int, int, int]:
    return category, flags, number // 256, number % 256


def save(root: Path, name: str, data: np.ndarray) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(data).save(path)
    return path


def write_image(
    root: Path,
    pixels: np.ndarray | list[list[tuple[int, int, int, int]]],
    mask: np.ndarray | list[list[int]] | None = None,
) -> BDD100K:
    """Write one image with this bitmask (red, green, blue, alpha), and open the tree."""
    bitmask = np.array(pixels, dtype=np.uint8)
    save(root, "images/10k/train/a-1.jpg", np.full((*bitmask.shape[:2], 3), 90, np.uint8))
    save(root, BITMASK, bitmask)
    if mask is not None:
        save(root, MASK, np.array(mask, dtype=np.uint8))
    return BDD100K(root)


@pytest.mark.parametrize("with_mask", [False, True], ids=["bitmask alone", "semantic mask"])
@pytest.mark.parametrize("index", [0, 1, 3])
def test_read_labels__toystreets_scene(tmp_path: Path, index: int, with_mask: bool) -> None:
    scene = render_scene(seed=4, domain="camera", split="val", index=index, size=(64, 128))
    numbers = np.array([0, *range(300, 300 + 7 * len(scene.labels), 7)])[np.maximum(scene.ids, 0)]
    category = np.array([0, *(scene.labels + 1)])[np.maximum(scene.ids, 0)]
    category = np.where(scene.group > 0, scene.group, category)
    flags = np.where(scene.group > 0, CROWD, 0)
    bitmask = np.dstack([category, flags, numbers // 256, numbers % 256])
    read = write_image(tmp_path, bitmask, scene.semantic if with_mask else None).read_labels(0)
    assert sorted(read.labels) == sorted(scene.labels)
    for k, label in enumerate(scene.labels, start=1):
        (mine,) = np.unique(read.ids[scene.ids == k])
        assert np.array_equal(read.ids == mine, scene.ids == k)
        assert read.labels[mine - 1] == label
    if with_mask:
        np.testing.assert_array_equal(read.semantic, scene.semantic)
        things = (scene.semantic >= 11) & (scene.semantic < 19)
        np.testing.assert_array_equal(read.ids == -1, things & (scene.ids <= 0))
    else:
        expected = np.where(category > 0, scene.semantic, 255)
        np.testing.assert_array_equal(read.semantic, expected)


def test_read_labels__class_is_red_number_is_blue_and_alpha(tmp_path: Path) -> None:
    pixels = [[pixel(v, 1) for v in range(1, 9)] + [pixel(PERSON, 256), pixel(PERSON, 65535)]]
    read = write_image(tmp_path, pixels).read_labels(0)
    assert read.labels.tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert read.ids.tolist() == [[1, 4, 5, 6, 7, 8, 9, 10, 2, 3]]
    assert read.semantic.tolist() == [[11, 12, 13, 14, 15, 16, 17, 18, 11, 11]]
    assert (read.ids.dtype, read.labels.dtype, read.semantic.dtype) == ("int32", "int64", "uint8")


def test_read_labels__one_number_may_serve_two_classes(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[pixel(CAR, 7), pixel(RIDER, 7), NONE]]).read_labels(0)
    assert read.ids.tolist() == [[2, 1, 0]]
    assert read.labels.tolist() == [1, 2]


@pytest.mark.parametrize("flag", [IGNORE, CROWD, CROWD | IGNORE, CROWD | OCCLUDED])
def test_read_labels__crowds_and_ignored_regions(tmp_path: Path, flag: int) -> None:
    pixels = [[pixel(CAR, 7, flag), pixel(0, 3, flag), pixel(CAR, 8), NONE]]
    read = write_image(tmp_path, pixels).read_labels(0)
    assert read.ids.tolist() == [[-1, -1, 1, 0]]
    assert read.semantic.tolist() == [[13, 255, 13, 255]]


def test_read_labels__class_without_number_is_ignored(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[pixel(CAR, 0), pixel(CAR, 1)]]).read_labels(0)
    assert read.ids.tolist() == [[-1, 1]]


def test_read_labels__other_flags_do_not_split_an_object(tmp_path: Path) -> None:
    read = write_image(tmp_path, [[pixel(CAR, 4), pixel(CAR, 4, OCCLUDED)]]).read_labels(0)
    assert read.ids.tolist() == [[1, 1]]


def test_read_labels__semantic_mask_has_the_say_on_stuff(tmp_path: Path) -> None:
    mask = [[13, 0, 255, 11, 10]]
    read = write_image(tmp_path, [[pixel(CAR, 4), *[NONE] * 4]], mask).read_labels(0)
    assert read.semantic.tolist() == mask
    assert read.ids.tolist() == [[1, 0, 0, -1, 0]]


def test_read_objects__flags_are_occlusion_and_truncation(tmp_path: Path) -> None:
    pixels = [[pixel(CAR, 1, OCCLUDED), pixel(CAR, 2, TRUNCATED), pixel(CAR, 3), NONE]]
    labels, facts = write_image(tmp_path, pixels).read_objects(0)
    assert labels.ids.tolist() == [[1, 2, 3, 0]]
    assert facts.occlusion.tolist() == [1, 0, 0]
    assert facts.truncation.tolist() == [0, 1, 0]


def test_read_labels__filter_by_flag(tmp_path: Path) -> None:
    write_image(tmp_path, [[pixel(CAR, 1, OCCLUDED), pixel(CAR, 2, TRUNCATED), pixel(CAR, 3)]])
    options = DatasetOptions(objects=ObjectFilter(max_occlusion=0.5))
    assert BDD100K(tmp_path, options=options).read_labels(0).ids.tolist() == [[-1, 1, 2]]


@pytest.mark.parametrize("encoder", ["Pillow", "OpenCV"])
def test_read_labels__channels_survive_either_encoder(tmp_path: Path, encoder: str) -> None:
    pixels = [[pixel(v, 1 + 255 * v) for v in range(1, 9)] + [pixel(CAR, 256), NONE]]
    dataset = write_image(tmp_path, pixels)
    if encoder == "OpenCV":
        stored = np.array(pixels, np.uint8)[..., [2, 1, 0, 3]]
        assert cv2.imwrite(str(tmp_path / BITMASK), stored)
    read = dataset.read_labels(0)
    assert read.labels.tolist() == [0, 1, 2, 2, 3, 4, 5, 6, 7]
    assert read.ids.tolist() == [[1, 2, 4, 5, 6, 7, 8, 9, 3, 0]]


def test_records__sorted_by_name(tmp_path: Path) -> None:
    write_image(tmp_path, [[NONE]])
    for name in ("b", "0"):
        save(tmp_path, f"images/10k/train/{name}.jpg", np.zeros((1, 1, 3), np.uint8))
        save(tmp_path, f"labels/ins_seg/bitmasks/train/{name}.png", np.zeros((1, 1, 4), np.uint8))
    dataset = BDD100K(tmp_path)
    assert [record.sample_id for record in dataset.records] == ["0", "a-1", "b"]
    assert (dataset.domain, dataset.size_of(0)) == ("target", (1, 1))
    check_sizes(dataset)


def test_records__some_images_without_semantic_mask(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path, [[NONE]], [[0]])
    save(tmp_path, "images/10k/train/b.jpg", np.zeros((1, 1, 3), np.uint8))
    save(tmp_path, "labels/ins_seg/bitmasks/train/b.png", np.zeros((1, 1, 4), np.uint8))
    with caplog.at_level(logging.INFO):
        dataset = BDD100K(tmp_path)
    assert [dataset.read_semantic(i).tolist() for i in range(2)] == [[[0]], [[255]]]
    assert "1 of 2 images have no semantic mask" in caplog.text


def test_unused_files__semantic_masks_without_image(tmp_path: Path) -> None:
    assert write_image(tmp_path, [[NONE]]).unused_files() == []
    dataset = write_image(tmp_path, [[NONE]], [[0]])
    left = save(tmp_path, MASK.replace("a-1", "b"), np.zeros((1, 1), np.uint8))
    assert dataset.unused_files() == [left]


def test_bdd100k__without_labels_needs_pictures_alone(tmp_path: Path) -> None:
    save(tmp_path / "ä b", "images/10k/test/x y.JPG", np.full((2, 3, 3), 90, np.uint8))
    dataset = BDD100K(tmp_path / "ä b", "test", require_labels=False)
    assert dataset.basename(0) == "x y"
    assert dataset.read_image(0).tolist() == [[[90] * 3] * 3] * 2


def test_bdd100k__labels_of_the_test_split(tmp_path: Path) -> None:
    save(tmp_path, "images/10k/test/a.jpg", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(UserError, match=r"split 'test' must have bitmasks, got no such .*test"):
        BDD100K(tmp_path, "test")


def test_bdd100k__image_and_bitmask_differ_in_case(tmp_path: Path) -> None:
    write_image(tmp_path, [[NONE]])
    (tmp_path / "images/10k/train/a-1.jpg").rename(tmp_path / "images/10k/train/A-1.JPG")
    with pytest.raises(UserError, match=r"bitmask, got 1 of 1 .* A-1 .*\n.*got 1 without: a-1 "):
        BDD100K(tmp_path)


def test_bdd100k__missing_and_left_over_bitmasks_in_one_message(tmp_path: Path) -> None:
    write_image(tmp_path, [[NONE]])
    save(tmp_path, "images/10k/train/b.jpg", np.zeros((1, 1, 3), np.uint8))
    (tmp_path / BITMASK).rename((tmp_path / BITMASK).with_name("c.png"))
    with pytest.raises(UserError, match=r"2 of 2 images without: a-1, b .*bitmasks.*\n.*: c "):
        BDD100K(tmp_path)


def test_bdd100k__two_pictures_of_one_name(tmp_path: Path) -> None:
    write_image(tmp_path, [[NONE]])
    save(tmp_path, "images/10k/train/a-1.png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(UserError, match=r"more than their suffix, got 1 .*: a-1.png \(.*10k/train"):
        BDD100K(tmp_path)


@pytest.mark.parametrize(
    ("split", "got"),
    [("val", r"split must be a folder of images/10k \(train\), got 'val'"), ("..", "got '..'")],
)
def test_bdd100k__unknown_split(tmp_path: Path, split: str, got: str) -> None:
    write_image(tmp_path, [[NONE]])
    with pytest.raises(UserError, match=got):
        BDD100K(tmp_path, split)


def test_bdd100k__images_in_the_wrong_place(tmp_path: Path) -> None:
    save(tmp_path, "10k/train/a.jpg", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(UserError, match=r"must hold the folder images/10k, got no .*images/10"):
        BDD100K(tmp_path)


def test_bdd100k__empty_split(tmp_path: Path) -> None:
    (tmp_path / "images/10k/train").mkdir(parents=True)
    with pytest.raises(UserError, match=r"split must hold JPEGs, got none \(.*images/10k/train"):
        BDD100K(tmp_path)


@pytest.mark.parametrize(
    ("shape", "got"), [((1, 2, 3), "8-bit RGB"), ((1, 2), "8-bit gray")], ids=["RGB", "gray"]
)
def test_read_labels__bitmask_without_alpha(
    tmp_path: Path, shape: tuple[int, ...], got: str
) -> None:
    dataset = write_image(tmp_path, [[pixel(CAR, 1), NONE]])
    save(tmp_path, BITMASK, np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match=rf"PNG of 8-bit RGBA, got {got} \(.*a-1.png\)"):
        dataset.read_labels(0)


def test_read_labels__bitmask_made_opaque(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[(CAR, 0, 0, 255), (0, 0, 0, 255)]])
    with pytest.raises(UserError, match=r"alpha channel .* got 255 everywhere \(.*a-1.png\)"):
        dataset.read_labels(0)


def test_read_labels__channels_in_the_wrong_order(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[(200, 0, CAR, 1), NONE]])
    with pytest.raises(UserError, match=r"red \(the class\) .*\[0, 8\], got 200 \(.*a-1.png\)"):
        dataset.read_labels(0)


def test_read_labels__unknown_flags(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[(CAR, 16, 0, 1), NONE]])
    with pytest.raises(UserError, match=r"green \(the flags\) .*\[0, 15\], got 16 \(.*a-1.png\)"):
        dataset.read_labels(0)


def test_read_labels__semantic_mask_of_another_size(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[NONE, NONE]], [[0], [0]])
    with pytest.raises(UserError, match=r"size \(1, 2\), got \(2, 1\) \(.*masks/train/a-1.png\)"):
        dataset.read_labels(0)


def test_read_labels__semantic_mask_of_label_ids(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[NONE, NONE, NONE]], [[26, 7, 19]])
    with pytest.raises(UserError, match=r"must be a trainId .* got 19, 26 \(.*masks/train/a-1.png"):
        dataset.read_labels(0)


def test_sample__bitmask_of_another_size_than_the_image(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[NONE, NONE]])
    save(tmp_path, BITMASK, np.zeros((5, 5, 4), np.uint8))
    with pytest.raises(UserError, match=r"size \(1, 2\), got \(5, 5\) \(.*bitmasks/train/a-1.png"):
        dataset.sample(0)


def test_read_instance_ids__without_a_mask_what_is_no_object_is_background(tmp_path: Path) -> None:
    pixels = [[pixel(CAR, 1), pixel(CAR, 2, IGNORE), NONE, NONE]]
    mask = [[13, 13, 0, 255]]
    alone = write_image(tmp_path / "alone", pixels).read_instance_ids(0)
    both = write_image(tmp_path / "both", pixels, mask).read_instance_ids(0)
    background = BACKGROUND_LABEL_ID
    assert alone.tolist() == [[26_000, 26, background, background]]
    assert both.tolist() == [[26_000, 26, 7, 0]]  # the road; void
