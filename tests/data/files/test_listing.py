"""The remembered listing of a tree: equal to a fresh one, whatever happens to tree and cache."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from uda4inst.data.files import listing as index_module
from uda4inst.data.files.listing import FileIndex, cache_folder
from uda4inst.errors import UserError

TICK = 0.02  # a file system's clock moves at least this often


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which folders are remembered at once."""
    monkeypatch.setenv("UDA4INST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index_module, "_SETTLED_SECONDS", -1.0)
    return tmp_path / "cache" / "index"


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    time.sleep(TICK)
    return root


def listing(root: Path, folder: str = "a") -> tuple[tuple[str, ...], tuple[str, ...]]:
    index = FileIndex(root)
    found = index.files(folder), index.folders(folder)
    index.save()
    return found


def forbid_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(f"listed {path}")

    monkeypatch.setattr(index_module.os, "scandir", refuse)


def test_file_index__sorted_names_without_hidden_ones(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/2.png", "a/10.png", "a/.hidden", "a/b/c.png", "a/.git/x")
    assert listing(root) == (("10.png", "2.png"), ("b",))


def test_file_index__remembered_equals_fresh_and_lists_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "tree", "a/1 ü.png", "a/b/2.png", "c/new\nline.png")
    fresh = listing(root), listing(root, "c"), listing(root, "a/b")
    forbid_listing(monkeypatch)
    assert (listing(root), listing(root, "c"), listing(root, "a/b")) == fresh


def test_file_index__empty_folder_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree" / "a").mkdir(parents=True)
    assert listing(tmp_path / "tree") == ((), ())
    forbid_listing(monkeypatch)
    assert listing(tmp_path / "tree") == ((), ())


def test_file_index__sees_added_removed_and_renamed_files(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    assert listing(root)[0] == ("1.png",)
    make(root, "a/2.png")
    assert listing(root)[0] == ("1.png", "2.png")
    (root / "a/1.png").unlink()
    time.sleep(TICK)
    assert listing(root)[0] == ("2.png",)
    (root / "a/2.png").rename(root / "a/3.png")
    time.sleep(TICK)
    assert listing(root)[0] == ("3.png",)


def test_file_index__sees_a_file_whose_folder_got_its_old_time_back(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    os.utime(root / "a", (1e9, 1e9))
    time.sleep(TICK)
    assert listing(root)[0] == ("1.png",)
    make(root, "a/2.png")
    os.utime(root / "a", (1e9, 1e9))
    assert listing(root)[0] == ("1.png", "2.png")


def test_file_index__folder_changed_just_now_is_not_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_SETTLED_SECONDS", 2.0)
    listing(make(tmp_path / "tree", "a/1.png"))
    (stored,) = cache.glob("*.json")
    assert json.loads(stored.read_text())["folders"] == {}


def test_file_index__age_counts_when_listed_not_when_saved(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_SETTLED_SECONDS", 2.0)
    index = FileIndex(make(tmp_path / "tree", "a/1.png"))
    index.files("a")
    monkeypatch.setattr(index_module, "_SETTLED_SECONDS", -1.0)
    index.save()
    (stored,) = cache.glob("*.json")
    assert json.loads(stored.read_text())["folders"] == {}


def test_file_index__keeps_folders_of_other_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "tree", "a/1.png", "b/2.png")
    listing(root)
    listing(root, "b")
    forbid_listing(monkeypatch)
    assert (listing(root)[0], listing(root, "b")[0]) == (("1.png",), ("2.png",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"version": 1}',
        b'{"version": 1, "root": "ROOT", "folders": {"a": [1]}}',
        b'{"version": 1, "root": "ROOT", "folders": {"a": [1, 2, 3]}}',
        b'{"version": 1, "root": "ROOT", "folders": 5}',
        b'{"version": 1, "root": "/elsewhere", "folders": {"a": [1, "x", ""]}}',
        b'{"version": 99, "root": "ROOT", "folders": {"a": [1, "x", ""]}}',
    ],
    ids=lambda content: content[-40:].decode(errors="replace"),
)
def test_file_index__damaged_cache_is_made_anew(
    tmp_path: Path, cache: Path, content: bytes
) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    listing(root)
    (stored,) = cache.glob("*.json")
    stored.write_bytes(content.replace(b"ROOT", bytes(root)))
    assert listing(root)[0] == ("1.png",)
    assert list(json.loads(stored.read_text())["folders"]) == ["a"]


def test_file_index__cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UDA4INST_CACHE", str(tmp_path / "file"))
    assert listing(make(tmp_path / "tree", "a/1.png"))[0] == ("1.png",)


def test_file_index__failed_write_leaves_nothing_behind(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_module.json, "dump", full)
    assert listing(make(tmp_path / "tree", "a/1.png"))[0] == ("1.png",)
    assert list(cache.iterdir()) == []


def test_cache_folder__user_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UDA4INST_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder().name == f"uda4inst-{os.getuid()}"


def test_file_index__names_that_are_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "tree \udcff", "a/caf\udce9.png")
    fresh = listing(root)
    assert fresh[0] == ("caf\udce9.png",)
    forbid_listing(monkeypatch)
    assert listing(root) == fresh


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


def list_often(root: Path, folder: str) -> None:
    for _ in range(30):
        assert listing(root, folder)[0] == ("1.png",)


def test_file_index__two_processes_at_once(tmp_path: Path, cache: Path) -> None:
    root = make(tmp_path / "tree", "a/1.png", "b/1.png")
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=list_often, args=(root, folder)) for folder in ("a", "b")]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0]
    assert [path.suffix for path in cache.iterdir()] == [".json"]


@pytest.mark.parametrize("name", ["gone", "a/1.png"])
def test_file_index__folder_missing_or_a_file(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "tree", "a/1.png")
    with pytest.raises(UserError, match=rf"folder must be readable, got .*\(.*{name}\)"):
        FileIndex(root).files(name)
