"""`uda4inst suite` and `uda4inst report`: what people type, what they read, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from command_line import Cli, in_process

from uda4inst.commands.suite import SUITE_NAMES
from uda4inst.suites import data_check, plan, runner
from uda4inst.suites.definition import SuiteName
from uda4inst.suites.runner import SuiteOutcome
from uda4inst.toystreets.write import write_toystreets


@pytest.fixture
def uda4inst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    """Run a command in an empty folder; return exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    return in_process(monkeypatch, capsys)


@pytest.fixture
def data_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_check, "check_data", lambda *_: None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("suite", "table9"), "SUITE must be one of table1, table2", id="suite"),
        pytest.param(("suite", "table2", "--scale", "big"), "--scale must be one of", id="scale"),
        pytest.param(("suite", "table2", "--seeds", "a"), "must be whole numbers", id="seeds"),
        pytest.param(("suite", "table2", "--seeds", "1,1"), "must be different", id="twice"),
        pytest.param(("suite", "table2", "--set", "x"), "key.sub=value", id="no-override"),
        pytest.param(
            ("suite", "table5", "--set", "method.groups=one"), "in which the rows", id="compared"
        ),
        pytest.param(("report", "nowhere"), "got No such file or directory (now", id="no-folder"),
        pytest.param(("pack", "suites/none"), "given by its folder, with suite.yaml", id="pack"),
        pytest.param(
            ("unpack", "a.suite.zip", "x/y"), "NAME must be that of a folder", id="unpack"
        ),
        pytest.param(("report", ".", "--network", "x"), "student, teacher, got 'x'", id="network"),
        pytest.param(
            ("report", ".", "--protocol", "x"), "cityscapes, coco, pixels, got", id="protocol"
        ),
    ],
)
def test_suite__mistake_is_one_message_and_exit_code_2(
    uda4inst: Cli, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = uda4inst(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert words in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("data_are_there")
@pytest.mark.parametrize("engine", ["cloud", "local"])
def test_suite__an_engine_that_cannot_be_had(uda4inst: Cli, engine: str) -> None:
    at_once = "0" if engine == "local" else "1"
    code, _, err = uda4inst("suite", "table2", "--engine", engine, "--at-once", at_once)
    assert code == 2
    assert ("--at-once" if engine == "local" else "error: --engine") in err


def test_suite__missing_data_are_told_before_anything_starts(uda4inst: Cli, tmp_path: Path) -> None:
    command = ("suite", "table5", "--scale", "smoke", "--seeds", "0,1")
    code, _, err = uda4inst(*command, "--set", "data.val.root=elsewhere")
    assert code == 2
    assert err.count("data/toystreets/urbansyn") == 1
    assert err.count("data/toystreets/cityscapes") == 1
    assert "made by: uda4inst data toystreets data/toystreets" in err
    assert list(tmp_path.iterdir()) == []


def test_suite__data_of_finished_runs_may_be_gone(
    uda4inst: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run_suite", lambda *_, **__: SuiteOutcome({}, {}))
    monkeypatch.setattr(plan, "is_finished", lambda _: True)
    assert uda4inst("suite", "table2", "--scale", "smoke", "--seeds", "0")[0] == 0


def test_suite__dry_run_lists_the_runs(uda4inst: Cli, tmp_path: Path) -> None:
    code, out, _ = uda4inst("suite", "table2", "--scale", "smoke", "--seeds", "3", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 6
    assert lines[1].startswith("none-seed3: begin, 4 steps from stage1-")
    assert list(tmp_path.iterdir()) == []


def test_suite__dry_run_says_what_would_be_taken_over(
    uda4inst: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        plan.reuse, "reusable", lambda *_: {"none-seed3": Path("suites/other/runs/m1-seed3")}
    )
    asked = ("suite", "table2", "--scale", "smoke", "--seeds", "3", "--dry-run")
    _, out, _ = uda4inst(*asked, "--rows", "none", "--reuse")
    stage1, none = out.splitlines()
    assert stage1.startswith("stage1-")
    assert ": not needed, " in stage1
    assert none.startswith("none-seed3: taken from suites/other/runs/m1-seed3, 4 steps")
    _, out, _ = uda4inst(*asked, "--reuse")
    assert [line.split(": ")[1].split(",")[0] for line in out.splitlines()] == [
        "begin",
        "taken from suites/other/runs/m1-seed3",
        *["begin"] * 4,
    ]
    _, out, _ = uda4inst(*asked)
    assert "taken from" not in out


@pytest.mark.usefixtures("data_are_there")
@pytest.mark.parametrize(
    ("outcome", "code", "words"),
    [
        pytest.param(SuiteOutcome({"a": "finished"}, {}), 0, "uda4inst report", id="good"),
        pytest.param(SuiteOutcome({"a": "failed"}, {"a": "no"}), 1, "a: failed: no", id="failed"),
        pytest.param(SuiteOutcome({"a": "blocked"}, {}), 1, "", id="blocked"),
        pytest.param(SuiteOutcome({"a": "waiting"}, {}, 15), 143, "goes on with it", id="sigterm"),
        pytest.param(SuiteOutcome({"a": "waiting"}, {}, 2), 130, "goes on with it", id="ctrl-c"),
    ],
)
def test_suite__exit_code_says_how_it_ended(
    uda4inst: Cli, monkeypatch: pytest.MonkeyPatch, outcome: SuiteOutcome, code: int, words: str
) -> None:
    monkeypatch.setattr(runner, "run_suite", lambda *_, **__: outcome)
    found, _, err = uda4inst("suite", "table2", "--scale", "smoke", "--seeds", "0")
    assert found == code
    assert words in err


@pytest.mark.usefixtures("data_are_there")
def test_suite__remembers_earlier_seeds(
    uda4inst: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[int]] = []

    def record(folder: object, expansion: runner.Expansion, *_: object, **__: object) -> object:
        asked.append([cell.seed for cell in expansion.cells])
        return SuiteOutcome({}, {})

    monkeypatch.setattr(runner, "run_suite", record)
    uda4inst("suite", "table2", "--scale", "smoke", "--seeds", "0,1")
    uda4inst("suite", "table2", "--scale", "smoke", "--seeds", "2")
    values = yaml.safe_load((tmp_path / "suites/table2-smoke/suite.yaml").read_text())
    assert values["seeds"] == [0, 1, 2]
    assert asked == [[0, 1], [2]]


@pytest.mark.usefixtures("data_are_there")
def test_report__a_suite_without_runs(
    uda4inst: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner, "run_suite", lambda *_, **__: SuiteOutcome({}, {}))
    uda4inst("suite", "table2", "--scale", "smoke", "--seeds", "0")
    code, out, err = uda4inst("report", "suites/table2-smoke", "--protocol", "coco")
    assert code == 0
    assert "COCO protocol, student" in out
    assert "| T2S | 35.07 | not run |" in out
    assert "written: suites/table2-smoke/report/report.md" in err


# Real runs, few steps on few and small images --------------------------------------------------


@pytest.mark.e2e
def test_suite__table2_smoke(tmp_path: Path) -> None:
    write_toystreets(tmp_path / "data" / "toystreets", size=(64, 128), train=4, val=4, workers=0)
    command = [sys.executable, "-m", "uda4inst.cli", "suite", "table2", "--scale", "smoke"]
    command += ["--seeds", "0", "--at-once", "2", "--set", "evaluation.limit=4"]

    def process(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = process(*command)
    assert done.returncode == 0, done.stderr
    place = tmp_path / "suites" / "table2-smoke"
    (stage1,) = (place / "runs").glob("stage1-*")
    for key in ("none", "t2s", "s2t", "both"):
        run = place / "runs" / f"{key}-seed0"
        assert json.loads((run / "status.json").read_text())["state"] == "finished"
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["training"]["stage2_from"] == stage1.name
    again = process(*command)
    assert again.returncode == 0
    assert "train" not in again.stderr
    changed = process(*command, "--set", "optim.lr=0.5")
    assert changed.returncode == 2
    assert "stage 1" not in changed.stderr
    assert "oracle (seed 0)" in changed.stderr
    report = process(sys.executable, "-m", "uda4inst.cli", "report", str(place))
    assert report.returncode == 0, report.stderr
    assert (place / "report" / "fig4.png").exists()
    assert "not run" not in report.stdout


def test_suite__help_names_every_suite() -> None:
    assert SUITE_NAMES.split(", ") == list(get_args(SuiteName))
