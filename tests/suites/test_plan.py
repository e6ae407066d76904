"""What a suite does before its first run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

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
