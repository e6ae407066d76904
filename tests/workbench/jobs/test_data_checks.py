"""Checks of data sets, with small commands in place of the real one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from uda4inst.data.config import DatasetRef
from uda4inst.errors import UserError
from workbench.jobs.data_checks import FOLDER, Check, Checks, last_words, progress_of
from workbench.pages.data.markup import check_report

REF = DatasetRef.model_validate({"format": "cityscapes", "root": "some/where", "split": "val"})
REPORT = {
    "images": 4,
    "ok": False,
    "findings": [
        {"kind": "empty", "path": "c.png", "message": "no object", "severity": "note"},
        *(
            {"kind": "size_mismatch", "path": f"{k}.png", "message": "<b>", "severity": "error"}
            for k in range(5)
        ),
    ],
}


@pytest.fixture
def checks(tmp_path: Path) -> Callable[[str], Checks]:
    return lambda code: Checks(tmp_path / "runs", checker=(sys.executable, "-c", code))


def wait(checks: Checks, state: str) -> Check:
    deadline = time.monotonic() + 20
    while checks.look(REF).state != state and time.monotonic() < deadline:
        time.sleep(0.02)
    found = checks.look(REF)
    assert found.state == state, found
    return found


def test_checks__none_before_one_was_started(checks: Callable[[str], Checks]) -> None:
    assert checks("").look(REF) == Check("none")


def test_checks__report_is_read_whatever_the_exit_status(checks: Callable[[str], Checks]) -> None:
    found = checks(f"import sys; print({json.dumps(json.dumps(REPORT))}); sys.exit(1)")
    found.start(REF)
    done = wait(found, "done")
    assert done.report == REPORT
    assert done.ended >= done.started - 1


def test_checks__another_app_sees_them(checks: Callable[[str], Checks]) -> None:
    first = checks("print('{}')")
    first.start(REF)
    wait(first, "done")
    assert checks("").look(REF).state == "done"
    assert checks("").look(REF.model_copy(update={"split": "train"})).state == "none"


def test_checks__command_is_the_one_a_user_would_type(checks: Callable[[str], Checks]) -> None:
    found = checks("import json, sys; print(json.dumps({'words': sys.argv[1:]}))")
    found.start(REF)
    words = wait(found, "done").report["words"]
    assert words[:3] == ["data", "check", "cityscapes"]
    assert words[words.index("--split") + 1] == "val"
    assert "--json" in words


def test_checks__running_shows_progress_and_can_be_stopped(
    checks: Callable[[str], Checks],
) -> None:
    found = checks("import sys, time; print('images 40%', file=sys.stderr); time.sleep(60)")
    found.start(REF)
    wait(found, "running")
    deadline = time.monotonic() + 20
    while found.look(REF).share is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found.look(REF).share == pytest.approx(0.4)
    with pytest.raises(UserError, match="ended before"):
        found.start(REF)
    found.stop(REF)
    assert found.look(REF).state == "stopped"
    with pytest.raises(UserError, match="must be running"):
        found.stop(REF)
    found.reap(timeout=20)


def test_checks__failure_keeps_the_last_words(checks: Callable[[str], Checks]) -> None:
    found = checks("import sys; sys.exit('format must be known')")
    found.start(REF)
    assert "format must be known" in wait(found, "failed").error


def test_checks__broken_record_is_no_check(checks: Callable[[str], Checks], tmp_path: Path) -> None:
    found = checks("print('{}')")
    found.start(REF)
    wait(found, "done")
    (record,) = (tmp_path / "runs" / FOLDER).glob("*/record.json")
    record.write_text("{")
    assert found.look(REF).state == "none"


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        ("", None),
        ("\x1b[2Kimages ━━━ 10% -:--\r\x1b[2Kimages ━━━ 55% 0:00:04", 0.55),
        ("1,000/4,000", 0.25),
        ("0 of 0", None),
        ("no numbers", None),
    ],
    ids=["nothing", "bar", "counts", "empty tree", "words"],
)
def test_progress_of(console: str, expected: float | None) -> None:
    assert progress_of(console) == expected


def test_last_words__without_escapes_and_bars() -> None:
    assert last_words("images ━━━ 10%\r\x1b[31mroot must be a folder\x1b[0m\n") == (
        "root must be a folder"
    )


def test_check_report__kinds_with_counts_and_first_offenders() -> None:
    html = check_report(Check("done", ended=1.8e9, report=REPORT))
    assert "5 faults" in html
    assert "1 note" in html
    assert "2027" in html
    assert html.index("size mismatch") < html.index("empty")
    assert "and 2 more" in html
    assert html.count("&lt;b&gt;") == 1  # said once, for all that have it


def test_check_report__states() -> None:
    sound = Check("done", report={"images": 3, "findings": []})
    assert "sound" in check_report(sound)
    assert "25 %" in check_report(Check("running", share=0.25, started=0.0), now=3.0)
    assert "wb-unknown" in check_report(Check("running", started=0.0), now=3.0)
    assert "no such format" in check_report(Check("failed", error="no such format"))
    assert "stopped" in check_report(Check("stopped"))
    assert "not checked" in check_report(Check("none"))


def test_checks__command_has_what_the_run_reads_the_data_with(
    checks: Callable[[str], Checks],
) -> None:
    read = {"split": "train", "unnumbered": "components", "class_map": "m.yaml"}
    ref = DatasetRef.model_validate({"format": "synthia", "root": "a", **read})
    assert checks("").command(ref)[-4:] == ["--class-map", "m.yaml", "--unnumbered", "components"]
    own = {"format": "coco", "root": "a", "split": "train", "annotations": "my.json"}
    words = checks("").command(DatasetRef.model_validate(own))
    assert words[-2:] == ["--annotations", "my.json"]
