from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import in_process
from suite_factory import write_resamples, write_suite

from uda4inst.errors import UserError
from uda4inst.exchange.archives import Entry, read_format, write_archive
from uda4inst.exchange.packed_runs import unpack_run
from uda4inst.exchange.packed_suites import KIND, pack_suite, unpack_suite
from uda4inst.suites.folder import SuiteFolder
from uda4inst.suites.report import markdown
from uda4inst.suites.report_csv import csv_text
from uda4inst.suites.results import collect
from uda4inst.suites.rows import View

TABLE5 = {"m1": {0: 5.0, 1: 7.0}, "m3": {0: 8.0, 1: 9.0}, "oracle": {0: 15.0, 1: 17.0}}


@pytest.fixture
def table5(tmp_path: Path) -> Path:
    folder = tmp_path / "suites" / "table5-toy"
    runs = [(f"{row}-seed{seed}", f"stage1-seed{seed}") for row in TABLE5 for seed in (0, 1)]
    write_suite(folder, "table5", TABLE5, seeds=(0, 1), runs=runs)
    for row, by_seed in TABLE5.items():
        for seed, ap in by_seed.items():
            write_resamples(folder, f"{row}-seed{seed}", ap)
    return folder


def test_unpack_suite__tables_and_intervals_are_the_same(table5: Path, tmp_path: Path) -> None:
    assert pack_suite(table5, tmp_path / "a.zip") == 6
    done = unpack_suite(tmp_path / "a.zip", root=tmp_path / "elsewhere")
    assert done.folder.path == tmp_path / "elsewhere" / "table5-toy"
    assert done.runs == 6
    before, after = collect(table5), collect(done.folder.path)
    view: list[View] = [("cityscapes", "student")]
    assert " to " in markdown(before, view)  # an interval
    assert markdown(after, view) == markdown(before, view)
    assert csv_text(after, view) == csv_text(before, view)


def test_pack_suite__again_after_unpacking_is_the_same(table5: Path, tmp_path: Path) -> None:
    pack_suite(table5, tmp_path / "a.zip")
    done = unpack_suite(tmp_path / "a.zip", root=tmp_path / "elsewhere")
    pack_suite(done.folder.path, tmp_path / "b.zip")
    again = unpack_suite(tmp_path / "b.zip", root=tmp_path / "third")
    names = [
        sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        for folder in (done.folder.path, again.folder.path)
    ]
    assert names[0] == names[1]
    assert again.files == done.files == len(names[0])


def test_pack_suite__leaves_weights_and_what_is_not_finished(table5: Path, tmp_path: Path) -> None:
    folder = SuiteFolder(table5)
    weights = folder.run("m1-seed0").checkpoints / "00000009" / "student.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"0")
    (folder.run("stage1-seed0").path).mkdir()
    (folder.run("stage1-seed0").config).touch()
    (folder.run("m3-seed1").status).write_text('{"state": "stopped", "step": 3}')
    assert pack_suite(table5, tmp_path / "a.zip") == 5
    done = unpack_suite(tmp_path / "a.zip", root=tmp_path / "elsewhere", name="mine")
    runs = sorted(path.name for path in done.folder.runs.iterdir())
    assert runs == ["m1-seed0", "m1-seed1", "m3-seed0", "oracle-seed0", "oracle-seed1"]
    assert not list(done.folder.path.rglob("*.safetensors"))


def test_pack_suite__nothing_finished(table5: Path, tmp_path: Path) -> None:
    for path in (table5 / "runs").glob("*/status.json"):
        path.write_text('{"state": "stopped", "step": 3}')
    with pytest.raises(UserError, match="must hold a finished run, got none"):
        pack_suite(table5, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_archive__of_a_suite_is_none_of_a_run(table5: Path, tmp_path: Path) -> None:
    pack_suite(table5, tmp_path / "a.zip")
    assert read_format(tmp_path / "a.zip") == KIND.format
    with pytest.raises(UserError, match="of another format"):
        unpack_run(tmp_path / "a.zip", root=tmp_path)


def test_command_line__tells_the_two_apart(
    table5: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cli = in_process(monkeypatch, capsys)
    code, said, _ = cli("pack", str(table5))
    assert code == 0
    assert "written: table5-toy.suite.zip" in said
    assert "scores of 6 finished runs" in said
    code, _, error = cli("pack", str(table5), "b.zip", "--step", "9")
    assert code == 2
    assert "--step and --resumable must be left out for a suite" in error
    code, said, _ = cli("unpack", "table5-toy.suite.zip", "mine")
    assert code == 0
    assert "uda4inst report suites/mine" in said


def test_unpack_suite__of_a_newer_version_leaves_nothing_behind(
    table5: Path, tmp_path: Path
) -> None:
    described = SuiteFolder(table5).description
    described.write_text(described.read_text().replace("table5", "table99"))
    about = {"format": KIND.format, "folder": "t", "suite": "table99", "scale": "toy", "runs": []}
    entry = Entry(described.name, source=described)
    write_archive(tmp_path / "a.zip", {**about, "commits": []}, [entry])
    with pytest.raises(UserError, match="suite must be one of") as caught:
        unpack_suite(tmp_path / "a.zip", root=tmp_path / "elsewhere")
    assert ".tmp-" not in str(caught.value)
    assert not list((tmp_path / "elsewhere").glob("*"))


def test_unpack_suite__that_does_not_list_its_runs(table5: Path, tmp_path: Path) -> None:
    described = SuiteFolder(table5).description
    about = {"format": KIND.format, "folder": "t", "suite": "table5", "scale": "toy", "runs": 5}
    entry = Entry(described.name, source=described)
    write_archive(tmp_path / "a.zip", {**about, "commits": []}, [entry])
    with pytest.raises(UserError, match="ARCHIVE must list its runs, got 5"):
        unpack_suite(tmp_path / "a.zip", root=tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").glob("*"))


def test_pack_suite__leaves_what_a_killed_process_left_half_written(
    table5: Path, tmp_path: Path
) -> None:
    runs = SuiteFolder(table5).runs
    shutil.copytree(runs / "m1-seed0", runs / ".tmp-m1-seed0")
    assert pack_suite(table5, tmp_path / "a.zip") == 6
