"""Image lists: read, written, and matched to images."""

from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.formats.image_list import ImageList, read_image_list, write_image_list

KNOWN = [
    ("frankfurt_000000_000294", "frankfurt_000000_000294", "frankfurt_000000_000294_leftImg8bit"),
    ("a b", "a b", "a b.png"),
    ("街", "街", "街.png"),
]


def test_image_list__there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_image_list(path, ["街", "a b", "a b"], about=["tag hard of data set toy"])
    assert path.read_text(encoding="utf-8") == "# tag hard of data set toy\na b\n街\n"
    assert read_image_list(path) == ImageList(("a b", "街"), str(path))


def test_read_image_list__comments_blank_lines_and_windows_ends(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeff# mine\r\n\r\n  b \r\na\r\nb\r\n".encode())
    assert read_image_list(path).names == ("a", "b")


def test_hash__of_the_names_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a\nb\n")
    other.write_text("# again\nb\na\n\n")
    assert read_image_list(one).hash == read_image_list(other).hash
    other.write_text("a\n")
    assert read_image_list(one).hash != read_image_list(other).hash


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "readable text file", id="missing"),
        pytest.param(b"\xff\xfe\x00", "readable text file", id="not-text"),
        pytest.param(b"# nothing\n\n", "must name an image, got none", id="empty"),
    ],
)
def test_read_image_list__bad_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_image_list(path)


def test_read_image_list__says_why_in_words(tmp_path: Path) -> None:
    missing = tmp_path / "list.txt"
    for path, words in ((missing, "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(UserError) as refused:
            read_image_list(path)
        assert str(refused.value).endswith(f"one name a line, got {words} ({path}).")


@pytest.mark.parametrize("name", ["", " a", "#a", "a\nb"])
def test_write_image_list__name_that_could_not_be_read_again(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="must be one line"):
        write_image_list(tmp_path / "list.txt", ["b", name])
    assert not (tmp_path / "list.txt").exists()


@pytest.mark.parametrize(
    ("names", "places"),
    [
        pytest.param(("街", "a b"), [1, 2], id="own-names"),
        pytest.param(("a b.png",), [1], id="file-name"),
        pytest.param(("val/frankfurt/frankfurt_000000_000294_leftImg8bit.png",), [0], id="path"),
        pytest.param(("a b", "a b.png"), [1], id="twice"),
    ],
)
def test_places__by_any_name_of_the_image(names: tuple[str, ...], places: list[int]) -> None:
    assert ImageList(names).places(KNOWN, where="toy") == places


def test_places__unknown_names_are_counted() -> None:
    with pytest.raises(UserError, match=r"\(toy\), got 'p', 'q', 'r' and 1 more \(my.txt\)"):
        ImageList(("p", "q", "r", "s", "a b"), "my.txt").places(KNOWN, where="toy")


def test_places__a_name_of_two_images_is_of_neither_unless_it_is_ones_own() -> None:
    known = [("1", "x"), ("2", "x"), ("x", "3")]
    assert ImageList(("x",)).places(known, where="toy") == [2]
    with pytest.raises(UserError, match="got 'x'"):
        ImageList(("x",)).places(known[:2], where="toy")
