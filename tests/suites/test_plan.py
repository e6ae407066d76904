"""What a suite does before its first run."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.suites import plan
from uda4inst.suites.plan import plan_suite
from uda4inst.toystreets.write import BeingWritten


def test_draw_scenes__waits_for_a_suite_that_draws_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = plan_suite("table5", "toy", seeds=[0], scenes=[5], root=tmp_path)
    asked: list[int] = []

    def write(*_: Any, seed: int, progress: Any, **__: Any) -> None:
        asked.append(seed)
        if len(asked) < 3:
            raise BeingWritten("another at work")
        progress(1, 1)

    monkeypatch.setattr(plan, "write_toystreets", write)
    monkeypatch.setattr(plan, "_WAIT_SECONDS", 0)
    seen: list[tuple[int, int, int]] = []
    with caplog.at_level(logging.INFO):
        made.draw_scenes(lambda *progress: seen.append(progress))
    assert asked == [5, 5, 5]
    assert seen == [(5, 1, 1)]
    assert caplog.text.count("scenes 5: another process draws them, waiting for it") == 1


def test_to_do__a_first_stage_only_where_a_run_starts_from_it(tmp_path: Path) -> None:
    made = plan_suite("table5", "smoke", seeds=[0], root=tmp_path)
    first = [run for run in made.chosen.runs if not run.row]
    assert len(first) == 2
    assert len(made.to_do) == 8

    def finish(name: str) -> None:
        place = made.folder.run(name)
        place.path.mkdir(parents=True)
        place.status.write_text(json.dumps({"state": "finished", "step": 7}))

    # As after taking runs over: all rows but M3, and no first stage.
    for run in made.chosen.runs:
        if run.row not in ("", "m3"):
            finish(run.name)
    (m3,) = [run for run in made.chosen.runs if run.row == "m3"]
    assert [run.name for run in made.to_do] == [m3.stage1, m3.name]
    finish(m3.name)
    assert made.to_do == ()


@pytest.mark.parametrize(
    ("name", "scale", "rows"),
    [("semantic", "paper", ()), ("table1", "toy", ("synthia_uda4inst",))],
)
def test_plan__of_no_runs_is_refused(
    tmp_path: Path, name: str, scale: str, rows: tuple[str, ...]
) -> None:
    with pytest.raises(
        UserError, match=f"rows with data at its scale, got {name} at scale {scale}"
    ):
        plan_suite(name, scale, seeds=[0], rows=rows, root=tmp_path)
    assert list(tmp_path.iterdir()) == []
