"""What several browsers ask for at once is read and drawn once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.services import Services
from workbench.stores import runs


def test_summaries_of_late__read_once_a_second_for_all(
    services: Services, write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(services.runs, "_monotonic", lambda: now[0])
    write_run("first", state="finished")
    shown = services.runs.summaries_of_late()
    assert [one.name for one in shown] == ["first"]
    write_run("second", state="finished")
    now[0] += runs.LATE_SECONDS - 0.01
    assert services.runs.summaries_of_late() is shown
    now[0] += 0.02
    assert {one.name for one in services.runs.summaries_of_late()} == {"first", "second"}
    # What a person asks for is as it is now.
    write_run("third", state="finished")
    assert len(services.runs.summaries()) == 3


def test_drawn__once_until_a_line_comes(
    services: Services, write_run: Callable[..., Path], factories: Any
) -> None:
    run = write_run(steps=20)
    drawn: list[int] = []

    def look(classes: tuple[str, ...] = ()) -> str:
        series = services.metrics.series("demo")

        def draw() -> str:
            drawn.append(series.count)
            return f"{series.count} {classes}"

        return services.metrics.drawn(series, classes, draw)

    assert look() == look()
    assert len(drawn) == 1
    assert look(("car",)) != look()
    assert len(drawn) == 2
    more = factories.make_metrics(21, stage1_steps=5)[20:]
    factories.append_metrics(run, more)
    assert look().startswith("21 ")
    assert len(drawn) == 3
