"""Semantic maps in one file: whole, by name, stored; and for the Cityscapes server."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uda4inst.errors import UserError
from uda4inst.formats.label_maps import LabelMaps, write_label_ids, writing_label_maps

FIRST = np.array([[0, 10], [13, 255]], np.uint8)
SECOND = np.array([[18, 18, 18]], np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with writing_label_maps(tmp_path / "step" / "student.zip") as write:
        write("toyville_000000_000019", FIRST)
        write("b ä", SECOND)
    return tmp_path / "step" / "student.zip"


def test_label_maps__come_back_by_name(path: Path) -> None:
    maps = LabelMaps(path)
    assert maps.names == {"toyville_000000_000019", "b ä"}
    np.testing.assert_array_equal(maps.read("b ä"), SECOND)
    np.testing.assert_array_equal(maps.read("toyville_000000_000019"), FIRST)


def test_writing_label_maps__is_a_plain_zip_of_grey_pngs(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        infos = file.infolist()
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        with file.open("toyville_000000_000019.png") as raw, Image.open(raw) as picture:
            assert picture.mode == "L"
            assert np.asarray(picture).tolist() == FIRST.tolist()


def test_writing_label_maps__equal_maps_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    with writing_label_maps(tmp_path / "again.zip") as write:
        write("toyville_000000_000019", FIRST)
        write("b ä", SECOND)
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()


def test_writing_label_maps__a_failure_leaves_what_was_there(path: Path) -> None:
    before = path.read_bytes()

    def fail() -> None:
        with writing_label_maps(path) as write:
            write("other", SECOND)
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["student.zip"]


def test_label_maps__says_what_is_wrong(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must exist, got none"):
        LabelMaps(tmp_path / "none.zip")
    with pytest.raises(UserError, match=r"must hold a map of 'c', got none"):
        LabelMaps(path).read("c")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="whole zip of PNG label maps"):
        LabelMaps(path)


def test_label_maps__refuses_values_that_are_no_classes(tmp_path: Path) -> None:
    with writing_label_maps(tmp_path / "odd.zip") as write:
        write("a", np.array([[19]], np.uint8))
    with pytest.raises(UserError, match=r"a\.png holds no trainIds"):
        LabelMaps(tmp_path / "odd.zip").read("a")


def test_write_label_ids__are_regular_cityscapes_ids(tmp_path: Path) -> None:
    write_label_ids(tmp_path / "a_labelIds.png", FIRST)
    with Image.open(tmp_path / "a_labelIds.png") as picture:
        assert np.asarray(picture).tolist() == [[7, 23], [26, 0]]
