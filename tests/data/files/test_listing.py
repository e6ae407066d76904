"""The names in a tree's folders: which there are, in what order, and each folder listed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.data.files.listing import FileIndex
from uda4inst.errors import UserError


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def listing(root: Path, folder: str = "a") -> tuple[tuple[str, ...], tuple[str, ...]]:
    index = FileIndex(root)
    return index.files(folder), index.folders(folder)


def test_file_index__sorted_names_without_hidden_ones(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/2.png", "a/10.png", "a/.hidden", "a/b/c.png", "a/.git/x")
    assert listing(root) == (("10.png", "2.png"), ("b",))


def test_file_index__empty_folder(tmp_path: Path) -> None:
    (tmp_path / "tree" / "a").mkdir(parents=True)
    assert listing(tmp_path / "tree") == ((), ())


def test_file_index__lists_a_folder_once_in_its_life(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    index = FileIndex(root)
    assert index.files("a") == ("1.png",)
    (make(root, "a/3.png") / "a/1.png").unlink()
    assert index.files("a") == ("1.png",)
    assert FileIndex(root).files("a") == ("3.png",)


def test_file_index__leaves_files_out(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/1.png", "a/2.png")
    index = FileIndex(root, left_out=[root / "a/2.png"])
    assert index.files("a") == ("1.png",)
    assert index.leaves_out(root / "a/2.png")
    assert not index.leaves_out(root / "a/1.png")


def test_file_index__names_that_are_not_utf8(tmp_path: Path) -> None:
    root = make(tmp_path / "tree \udcff", "a/caf\udce9.png")
    assert listing(root)[0] == ("caf\udce9.png",)


def test_file_index__link_to_itself_and_dead_link_are_files(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    (root / "a/loop.png").symlink_to("loop.png")
    (root / "a/dead.png").symlink_to("gone.png")
    assert listing(root) == (("1.png", "dead.png", "loop.png"), ())


def test_file_index__link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    (root / "a/up").symlink_to("..")
    assert listing(root) == (("1.png",), ("up",))
    assert listing(root, "a/up/a") == (("1.png",), ("up",))


@pytest.mark.parametrize("name", ["gone", "a/1.png"])
def test_file_index__folder_missing_or_a_file(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    with pytest.raises(UserError, match=rf"folder must be readable, got .*\(.*{name}\)"):
        FileIndex(root).files(name)
