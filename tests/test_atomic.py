from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from uda4inst.atomic import (
    disk_errors,
    new_folder,
    put_in_place,
    remove_leftovers,
    whole_file,
    whole_folder,
    write_json,
    write_whole,
)
from uda4inst.errors import UserError


def test_write_whole__replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_write_json__refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_whole_file__error_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(path) as temporary:
        temporary.with_name("other").rename(temporary)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_new_folder__appears_only_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "out"
    with new_folder(final) as folder:
        (folder / "a").touch()
        assert not final.exists()
    assert [p.name for p in final.iterdir()] == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_new_folder__leaves_what_took_its_name_meanwhile(tmp_path: Path) -> None:
    final = tmp_path / "out"
    (tmp_path / "out" / "other").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"), new_folder(final) as folder:
        (folder / "a").touch()
    assert [p.name for p in final.iterdir()] == ["other"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_put_in_place__takes_an_empty_folders_name(tmp_path: Path) -> None:
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "a").touch()
    (tmp_path / "out").mkdir()
    put_in_place(tmp_path / "filled", tmp_path / "out")
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["out", "out/a"]


def test_put_in_place__leaves_what_is_there(tmp_path: Path) -> None:
    for name in ("filled", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    with pytest.raises(OSError, match="not empty"):
        put_in_place(tmp_path / "filled", tmp_path / "out")
    assert (tmp_path / "filled" / "filled").exists()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["out"]


def test_whole_folder__appears_only_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "00000001"
    with whole_folder(final) as folder:
        (folder / "a").write_text("x")
        assert not final.exists()
    assert (final / "a").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["00000001"]


def test_whole_folder__replaces_what_was_there(tmp_path: Path) -> None:
    final = tmp_path / "00000001"
    final.mkdir()
    (final / "old").touch()
    with whole_folder(final) as folder:
        (folder / "new").touch()
    assert [p.name for p in final.iterdir()] == ["new"]


def test_whole_folder__error_keeps_what_was_there(tmp_path: Path) -> None:
    final = tmp_path / "00000001"
    final.mkdir()
    (final / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(final):
        raise RuntimeError
    assert [p.name for p in final.iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["00000001"]


def test_remove_leftovers__takes_unfinished_things_only(tmp_path: Path) -> None:
    (tmp_path / ".tmp-00000004").mkdir()
    (tmp_path / ".tmp-00000004" / "half").touch()
    (tmp_path / ".tmp-latest").touch()
    (tmp_path / "00000002").mkdir()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    assert [p.name for p in tmp_path.iterdir()] == ["00000002"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            OSError(errno.ENOSPC, "No space left"),
            "must fit on the disk, got a full disk (WHERE). Make room for 3 MiB, then resume.",
            id="full",
        ),
        pytest.param(
            OSError(errno.EDQUOT, "Quota exceeded"),
            "must fit on the disk, got a full disk (WHERE). Make room for 3 MiB, then resume.",
            id="quota",
        ),
        pytest.param(
            SafetensorError("I/O error: No space left on device (os error 28)"),
            "must fit on the disk, got a full disk (WHERE). Make room for 3 MiB, then resume.",
            id="full-for-weights",
        ),
        pytest.param(
            OSError(errno.EROFS, "Read-only file system"),
            "must be on a disk that can be written to, got one mounted read-only (WHERE). Mount it "
            "for writing, or copy the folder to another disk, then resume.",
            id="read-only",
        ),
        pytest.param(
            OSError(errno.EACCES, "Permission denied"),
            "must be writable, got no right to ([Errno 13] Permission denied) (WHERE). Give this "
            "user the right to write there, then resume.",
            id="closed",
        ),
        pytest.param(
            OSError(errno.EIO, "Input/output error"),
            "must be written, got [Errno 5] Input/output error (WHERE). Look at the disk, then "
            "resume.",
            id="broken",
        ),
    ],
)
def test_disk_errors__say_what_where_and_what_to_do(
    tmp_path: Path, error: Exception, words: str
) -> None:
    where = tmp_path / "not" / "there"
    with (
        pytest.raises(UserError) as caught,
        disk_errors("checkpoint of step 7", where, then="resume", room="room for 3 MiB"),
    ):
        raise error
    assert str(caught.value) == f"checkpoint of step 7 {words}".replace("WHERE", str(where))
