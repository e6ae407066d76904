from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import (
    RunDir,
    check_run_name,
    command_entry,
    create_run,
    find_run,
    module_names,
    numbered,
    read_command,
    read_config_values,
    record_command,
    runs_in,
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


def test_record_command__keeps_the_start_and_adds_resumes(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    record_command(run, command_entry({}))
    record_command(run, command_entry({}))
    record_command(run, command_entry({}))
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


def test_runs_in__those_that_were_started(tmp_path: Path) -> None:
    runs = [new_run(tmp_path, name) for name in ("b", "a")]
    (tmp_path / "c").mkdir()
    assert runs_in(tmp_path) == runs[::-1]
    assert runs_in(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        pytest.param([["rider", "person"], ["car"]], ["rider-person", "car"], id="as-trained"),
        pytest.param([["car"]], ["car", "rider-person"], id="unknown-last"),
        pytest.param([], ["car", "rider-person"], id="by-name"),
    ],
)
def test_module_names__in_the_order_they_train(
    tmp_path: Path, groups: list[list[str]], expected: list[str]
) -> None:
    run = new_run(tmp_path)
    assert (run.is_grouped, module_names(run, groups)) == (False, [])
    for name in ("rider-person", "car"):
        run.module(name).path.mkdir(parents=True)
    assert (run.is_grouped, module_names(run, groups)) == (True, expected)


def test_read_command__when_and_by_which_code(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert read_command(run).commits == ()
    first = {"time": "2026", "commit": "a1", "resumed": [{"commit": "a2"}, 3, {"commit": "a1"}]}
    run.command.write_text(json.dumps(first))
    assert (read_command(run).time, read_command(run).commits) == ("2026", ("a1", "a2"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resumed": 3}'])
def test_read_command__any_content(tmp_path: Path, text: str) -> None:
    run = new_run(tmp_path)
    run.command.write_text(text)
    assert (read_command(run).time, read_command(run).commits) == ("", ())


@pytest.mark.parametrize("content", [b"a: [", b"- 1", b"", b"\xff\xfe\x00"])
def test_read_config_values__any_content_is_no_error(tmp_path: Path, content: bytes) -> None:
    run = new_run(tmp_path)
    assert read_config_values(run.config) == {"seed": 0}
    run.config.write_bytes(content)
    assert read_config_values(run.config) == {}
    run.config.unlink()
    with pytest.raises(FileNotFoundError):
        read_config_values(run.config)
