"""A suite finished at commit 2bd169c stays finished, and its report says what it said."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import yaml
from older_runs import FIXTURES

from uda4inst.run_folder.status import is_finished
from uda4inst.suites import folder as folders
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Cell
from uda4inst.suites.expand import Expansion, expand
from uda4inst.suites.report import write_report
from uda4inst.suites.results import collect
from uda4inst.suites.rows import NETWORKS, PROTOCOLS
from uda4inst.suites.scales import find_scale

SUITE = FIXTURES / "suites" / "table5-smoke"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> folders.SuiteFolder:
    """Return a copy of the suite, in a working directory as it was made in."""
    shutil.copytree(SUITE, tmp_path / "suites" / SUITE.name)
    monkeypatch.chdir(tmp_path)
    return folders.suite_folder(Path("suites"), "table5", "smoke")


def expanded(place: folders.SuiteFolder) -> Expansion:
    """Return what the suite's own description asks for, as this version expands it."""
    _, description = folders.open_suite(place.path)
    overrides = description["overrides"]
    assert overrides == ["evaluation.limit=8"]
    return expand(
        SUITES["table5"],
        find_scale("smoke"),
        (Cell(None, 0),),
        root=place.runs,
        overrides=overrides,
    )


def test_older_suite__stays_finished(place: folders.SuiteFolder) -> None:
    expansion = expanded(place)
    recorded = yaml.safe_load(place.description.read_text())
    assert {run.name: run.config_hash for run in expansion.runs} == {
        run["name"]: run["config_hash"] for run in recorded["runs"]
    }
    assert expansion.hash == recorded["hash"]
    assert len(expansion.runs) == 8
    folders.check_unchanged(place, expansion)
    assert [r.name for r in expansion.runs if not is_finished(place.run(r.name))] == []


def test_older_suite__another_setting_is_refused(place: folders.SuiteFolder) -> None:
    changed = expand(SUITES["table5"], find_scale("smoke"), (Cell(None, 0),), root=place.runs)
    with pytest.raises(folders.UserError, match=r"evaluation\.limit was 8, is 1"):
        folders.check_unchanged(place, changed)


def test_older_suite__report_says_what_it_said(place: folders.SuiteFolder, tmp_path: Path) -> None:
    found = collect(place.path)
    write_report(found, tmp_path / "again", networks=NETWORKS, protocols=PROTOCOLS)
    new, old = tmp_path / "again", SUITE / "report"
    numbers = [_numbers(folder / "report.csv") for folder in (new, old)]
    assert numbers[0] == numbers[1] != {}
    text = (new / "report.md").read_text()
    assert "student, last step, 8 images (of how many is not recorded)" in text


def _numbers(path: Path) -> dict[tuple[str, ...], str]:
    """Return every number by row, network, protocol, measure and class.

    Later a rehearsal's gaps were said no more, and a student's numbers stood no more among those of
    a teacher.
    """
    keys = ("row", "protocol", "metric", "class")
    with path.open(newline="") as file:
        lines = [
            line
            for line in csv.DictReader(file)
            if not line["metric"].endswith(" gap") and line["network"] == "student"
        ]
    return {tuple(line[key] for key in keys): f"{line['mean']} {line['n']}" for line in lines}
