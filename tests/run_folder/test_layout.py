from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import (
    RunDir,
    check_run_name,
    create_run,
    find_run,
    locked,
    numbered,
    record_command,
)


def new_run(root: Path, name: str = "a") -> RunDir:
    run = RunDir(root / name)
    create_run(run, config_yaml="seed: 0\n")
    return run


@pytest.mark.parametrize("name", ["a", "demo-1", "0.9_b", "A"])
def test_check_run_name__accepts(name: str) -> None:
    assert check_run_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["a/b", "", "..", ".hidden", "a b", "-x", "a\n", "é"],
    ids=["slash", "empty", "parent", "hidden", "space", "dash", "newline", "accent"],
)
def test_check_run_name__refuses(name: str) -> None:
    with pytest.raises(UserError, match=r"run\.name must be letters, digits"):
        check_run_name(name)


def test_create_run__makes_the_folders(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert run.config.read_text() == "seed: 0\n"
    assert {p.name for p in run.path.iterdir()} == {
        "config.yaml",
        "checkpoints",
        "snapshots",
        "evaluation",
        "control",
    }


def test_create_run__refuses_a_run_that_exists(tmp_path: Path) -> None:
    new_run(tmp_path)
    with pytest.raises(UserError, match=r"run\.name must be new, got 'a'.*uda4inst resume"):
        new_run(tmp_path)


def test_create_run__takes_a_folder_no_trainer_has_used(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "console.txt").touch()
    assert new_run(tmp_path).config.exists()


def test_create_run__root_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run\.root must be a folder that can be written to"):
        new_run(tmp_path / "file")


def test_find_run__by_path_or_name(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert find_run(run.path, root=Path("elsewhere")) == run
    assert find_run("a", root=tmp_path) == run


def test_find_run__unknown_lists_the_known(tmp_path: Path) -> None:
    new_run(tmp_path, "demo")
    with pytest.raises(UserError, match=r"\(demo\), got 'dmo'"):
        find_run("dmo", root=tmp_path)


def test_find_run__folder_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=r"has no config\.yaml"):
        find_run("b", root=tmp_path)


def test_locked__refuses_a_second_trainer_and_names_the_first(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.status.write_text(json.dumps({"pid": 4321}))
    with (
        locked(run),
        pytest.raises(UserError, match=r"must have one trainer.*pid 4321"),
        locked(run),
    ):
        pass
    with locked(run):
        pass


def test_locked__a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    code = f"""
import os, time
from pathlib import Path
from uda4inst.run_folder.layout import RunDir, locked
with locked(RunDir(Path({str(run.path)!r}))):
    if os.fork() == 0:
        os.close(1)
        time.sleep(30)
        os._exit(0)
    print("held", flush=True)
    time.sleep(30)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with (run.path / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
    time.sleep(0.05)
    with locked(run):
        pass


def test_locked__clears_leftovers_and_old_requests(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    (run.checkpoints / ".tmp-00000002").mkdir()
    (run.path / ".tmp-status.json").touch()
    (run.control / "stop").touch()
    with locked(run):
        assert list(run.checkpoints.iterdir()) == []
        assert list(run.control.iterdir()) == []
        assert not (run.path / ".tmp-status.json").exists()


def test_record_command__keeps_the_start_and_adds_resumes(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    record_command(run)
    record_command(run)
    record_command(run)
    entry = json.loads(run.command.read_text())
    assert entry["argv"] == sys.argv
    assert entry["versions"]["torch"]
    assert len(entry["resumed"]) == 2
    assert "resumed" not in entry["resumed"][1]


def test_numbered__takes_finished_entries_in_order(tmp_path: Path) -> None:
    for name in ("00000010.json", "00000002", ".tmp-00000003", "latest", "predictions"):
        (tmp_path / name).touch()
    assert numbered(tmp_path) == [2, 10]
    assert numbered(tmp_path / "missing") == []
