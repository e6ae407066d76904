"""The soak's report says what was found, also what was wrong and what was not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soak_report
from killed_runs import Kill, Trial, summary


def found(tmp_path: Path, *faults: str) -> str:
    kills = [
        Kill("first", "line", 3.0, "stage 2", 4.25, ()),
        Kill("tree", "time", 3.0, "evaluating", 0.5, ()),
    ]
    suite = Trial("suite", 8, [Kill("first", "time", 1.0, "stage 1", 99.0, ())])
    trials = [Trial("semantic", 7, kills, list(faults)), suite]
    report = summary(trials, seed=7, seconds=120)
    (tmp_path / "kills.json").write_text(json.dumps(report))
    return soak_report.report(tmp_path)


def test_report__counts_kills_and_says_what_was_not_run(tmp_path: Path) -> None:
    text = found(tmp_path)
    assert "**3 kills** in 2 trainings, 2 of the first process alone and 1 of the whole" in text
    assert "seeds 7 to 8; 2 minutes" in text
    assert "**Faults: 0.**" in text
    assert "after at most 4.2 s" in text  # 99 s are of trainers that outlived their suite
    assert "| semantic | 1 | 2 | stage 2 1, evaluating 1 |" in text
    assert "long_run.json is not there: that part was not run." in text


def test_report__names_faults(tmp_path: Path) -> None:
    text = found(tmp_path, "differs: runs/a/checkpoints/latest")
    assert "**Faults: 1.**" in text
    assert "- semantic, seed 7: differs: runs/a/checkpoints/latest" in text


def test_report__counts_files_and_names_what_was_not_borne(tmp_path: Path) -> None:
    each = [
        {"target": "yaml", "files": 1200, "seconds": 9.0, "covered": 3, "faults": []},
        {"target": "status", "files": 30, "seconds": 9.0, "covered": 3, "faults": ["KeyError: a"]},
    ]
    report = {"searches": each, "seed": 4, "seconds": 120, "commit": "abc"}
    (tmp_path / "fuzz.json").write_text(json.dumps(report))
    text = soak_report.report(tmp_path)
    assert "**1,230 files** read by 2 readers, 30 (status) or more by each; seed 4; 2 min" in text
    assert "**Faults: 1.**\n\n- status: KeyError: a\n" in text


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({}, []),
        (
            {"ms": {"median": 9, "p95": 300, "longest": 900}},
            ["- 95 of 100 refreshes took up to 300"],
        ),
        ({"MiB_by_wave_of_sessions": [400, 500, 600]}, ["- closed pages are not given back"]),
        ({"failures": ["GET /: 500"]}, ["- GET /: 500"]),
    ],
)
def test_report__says_how_the_app_bore_many_browsers(
    tmp_path: Path, changed: dict[str, object], faults: list[str]
) -> None:
    measured = {
        "clients": 20,
        "refreshes": 377,
        "failures": [],
        "ms": {"median": 17, "p95": 34, "longest": 297},
        "steps_per_second": {"before": 1.473, "with": 1.448, "after": None},
        "sessions": 100,
        "MiB_by_wave_of_sessions": [444, 541, 547],
        "commit": "abc",
    }
    (tmp_path / "app.json").write_text(json.dumps(measured | changed))
    text = soak_report.report(tmp_path)
    assert f"**Faults: {len(faults)}.**" in text
    assert all(fault in text for fault in faults)
    assert "before, with and after them 1.473, 1.448, unknown." in text


def test_into__replaces_what_stood_between_the_marks() -> None:
    page = f"a\n{soak_report.BEGIN}\nold\n{soak_report.END}\nb\n"
    wanted = f"a\n{soak_report.BEGIN}\nnew\n{soak_report.END}\nb\n"
    assert soak_report.into(page, "new") == wanted
    assert soak_report.into(wanted, "new") == wanted


def test_into__needs_marks() -> None:
    with pytest.raises(ValueError, match="must have the marks"):
        soak_report.into("a\n", "new")
