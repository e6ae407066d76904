"""`uda4inst inspect run --show training`: what it refuses, and that nothing is started for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from workbench.sessions.commands import inspect_app


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(("--show", "all"), "--show must be judged or training", id="show"),
        pytest.param(("--target-labels",), "--target-labels must go with --show", id="labels"),
        pytest.param(
            ("--show", "training", "--step", "7"), "--step must be one of the snapshots", id="step"
        ),
        pytest.param((), "saw is there: uda4inst inspect run .* --show training", id="unjudged"),
    ],
)
def test_inspect_run__mistake_is_one_message(
    runs_root: Path, factories: Any, options: tuple[str, ...], words: str
) -> None:
    factories.write_run(runs_root, snapshots=(10, 20))
    arguments = ["run", "demo", "--root", str(runs_root), "--headless", *options]
    result = CliRunner().invoke(inspect_app, arguments)
    with pytest.raises(Exception, match=words):
        raise result.exception or AssertionError(result.output)
    assert result.output == ""


def test_inspect_run__nothing_judged_and_nothing_seen_names_evaluation_alone(
    runs_root: Path, factories: Any
) -> None:
    run = factories.write_run(runs_root)
    shutil.rmtree(run / "snapshots", ignore_errors=True)
    arguments = ["run", "demo", "--root", str(runs_root), "--headless"]
    error = CliRunner().invoke(inspect_app, arguments).exception
    assert "Evaluate it" in str(error)
    assert "--show training" not in str(error)
