"""A plain folder of images: what counts, in which order, under which names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uda4inst.data.config import TargetRef
from uda4inst.data.readers import ImageFolder
from uda4inst.data.records import TreeError
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import check_sizes
from uda4inst.errors import UserError
from uda4inst.toystreets import render_scene


def make(root: Path, *names: str) -> Path:
    """Write pictures of two pixels under these names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.lower().endswith("png") else "JPEG"
        Image.new("RGB", (2, 1), (90, 90, 90)).save(path, format=kind)
    return root


def names_in(root: Path, split: str | None = None) -> list[str]:
    dataset = ImageFolder(root, split, require_labels=False)
    return [record.sample_id for record in dataset.records]


def test_image_folder__toystreets_scene(tmp_path: Path) -> None:
    scene = render_scene(seed=4, domain="camera", split="train", index=0, size=(64, 128))
    Image.fromarray(scene.image).save(tmp_path / "a.png")
    dataset = ImageFolder(tmp_path, require_labels=False)
    np.testing.assert_array_equal(dataset.read_image(0), scene.image)
    assert (dataset.size_of(0), dataset.domain) == ((64, 128), "target")
    check_sizes(dataset)


def test_image_folder__pictures_of_any_case_in_nested_folders(tmp_path: Path) -> None:
    make(tmp_path, "b.PNG", "a.jpg", "x/y/c.JPEG", "x/d.JpG", ".hidden.png", ".thumbs/e.png")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "x/f.webp").touch()
    assert names_in(tmp_path) == ["a", "b", "x/d", "x/y/c"]
    dataset = ImageFolder(tmp_path, require_labels=False)
    assert [dataset.read_image(i).tolist() for i in range(4)] == [[[[90] * 3] * 2]] * 4


def test_image_folder__numbers_in_order(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}.png" for name in ("f10", "f9", "f010", "10", "9", "a", "²")))
    assert names_in(tmp_path) == ["9", "10", "a", "f9", "f010", "f10", "²"]


def test_image_folder__spaces_and_umlauts(tmp_path: Path) -> None:
    root = make(tmp_path / "my däta", "schöne straße 1.png", "ы/日本.v2.jpg")
    assert names_in(root) == ["schöne straße 1", "ы/日本.v2"]


def test_image_folder__folder_called_like_a_picture(tmp_path: Path) -> None:
    make(tmp_path, "x.png/y.png")
    assert names_in(tmp_path) == ["x.png/y"]


def test_image_folder__link_loops_end(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/b/2.png")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/root").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    assert names_in(tmp_path) == ["a/1", "a/b/2"]


def test_image_folder__linked_folder_counts_once(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/1.png")
    root = make(tmp_path / "root", "0.png")
    for name in ("c", "b"):
        (root / name).symlink_to(tmp_path / "elsewhere")
    assert names_in(root) == ["0", "b/1"]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, ["day/3", "night/1", "night/rain/2"]),
        ("train", ["day/3", "night/1", "night/rain/2"]),
        ("all", ["day/3", "night/1", "night/rain/2"]),
        ("night", ["night/1", "night/rain/2"]),
        ("night/rain", ["night/rain/2"]),
    ],
)
def test_image_folder__split(tmp_path: Path, split: str | None, expected: list[str]) -> None:
    make(tmp_path, "night/1.png", "night/rain/2.png", "day/3.png")
    assert names_in(tmp_path, split) == expected


def test_image_folder__sub_folder_called_train_is_the_split(tmp_path: Path) -> None:
    make(tmp_path, "train/1.png", "val/2.png")
    assert names_in(tmp_path, "train") == ["train/1"]
    assert names_in(tmp_path, "all") == ["train/1", "val/2"]


def test_image_folder__ego_vehicle_mask_is_no_picture(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "ego_vehicle.png", "a/ego_vehicle.png")
    assert names_in(tmp_path) == ["1", "a/ego_vehicle"]


def test_open_dataset__image_folder_as_target(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg")
    ref = TargetRef.model_validate({"format": "images", "root": str(tmp_path)})
    assert len(open_dataset(ref, domain="target", labels=None)) == 1
    with pytest.raises(UserError, match="must have labels here, got image folder"):
        open_dataset(ref, domain="target", labels="instances")


def test_image_folder__labels_are_never_read(tmp_path: Path) -> None:
    dataset = ImageFolder(make(tmp_path, "1.jpg"), require_labels=False)
    with pytest.raises(UserError, match=r"labels of '1' .* opened without labels"):
        dataset.read_labels(0)


def test_image_folder__two_pictures_of_one_name(tmp_path: Path) -> None:
    make(tmp_path, "x/a.png", "x/a.jpg", "x/b.png")
    message = r"more than their suffix, got 1 that do not: x/a.jpg and x/a.png \("
    with pytest.raises(TreeError, match=message) as caught:
        names_in(tmp_path)
    (fault,) = caught.value.faults
    assert (fault.kind, fault.path) == ("malformed", tmp_path / "x/a.png")
    assert fault.message.endswith("got x/a.jpg beside it")


def test_image_folder__names_differing_in_case_are_two(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "A.PNG")
    assert names_in(tmp_path) == ["A", "a"]


def test_image_folder__name_that_is_not_utf8(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    os.rename(bytes(tmp_path / "a.png"), bytes(tmp_path) + b"/caf\xe9.png")  # noqa: PTH104
    with pytest.raises(UserError, match=r"must be UTF-8, got 1 that are not: 'caf\\udce9.png'"):
        names_in(tmp_path)


def test_image_folder__no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=rf"images \(PNG or JPEG\), got none \({tmp_path}"):
        names_in(tmp_path)


@pytest.mark.parametrize("split", ["dawn", "night/dawn", "..", ".", "night/..", "/", "a.png"])
def test_image_folder__unknown_split(tmp_path: Path, split: str) -> None:
    make(tmp_path, "night/1.png", "a.png")
    with pytest.raises(UserError, match=rf"split must be train or all .* got '{split}'"):
        names_in(tmp_path, split)


@pytest.mark.parametrize(("name", "got"), [("gone", "no such folder"), ("a.png", "a file")])
def test_image_folder__root_is_no_folder(tmp_path: Path, name: str, got: str) -> None:
    make(tmp_path, "a.png")
    with pytest.raises(UserError, match=rf"must be a folder of images, got {got} \(.*{name}\)"):
        names_in(tmp_path / name)


def test_read_image__label_map_taken_for_a_picture(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "0001_labels.png")
    dataset = ImageFolder(tmp_path, require_labels=False)
    with pytest.raises(UserError, match=r"got 8-bit gray \(.*_labels.png\). It looks like a label"):
        dataset.read_image(0)


def test_read_image__link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("gone.png")
    dataset = ImageFolder(tmp_path, require_labels=False)
    with pytest.raises(UserError, match=r"must be readable, got no such file \(.*a.png\)"):
        dataset.read_image(0)
