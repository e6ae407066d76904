"""Which snapshots a session of what training saw holds, without a database."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from workbench.sessions.seen.request import SeenRequest


@pytest.fixture
def run(runs_root: Path, factories: Any) -> RunDir:
    return RunDir(factories.write_run(runs_root, snapshots=(10, 20, 30, 40)))


def steps_of(request: SeenRequest) -> list[int]:
    return [place.step for place in request.places()]


def test_places__all_oldest_first(run: RunDir) -> None:
    assert steps_of(SeenRequest(run)) == [10, 20, 30, 40]


def test_places__limit_is_spread(run: RunDir) -> None:
    assert steps_of(SeenRequest(run, limit=2)) == [10, 40]


def test_places__one_step(run: RunDir) -> None:
    assert steps_of(SeenRequest(run, step=20)) == [20]


def test_places__know_what_was_logged(run: RunDir) -> None:
    (place,) = SeenRequest(run, step=20).places()
    assert place.metrics is not None
    assert place.metrics["step"] == 20


def test_places__without_metrics_yet_are_others_than_with(run: RunDir) -> None:
    logged = run.metrics.read_text()
    run.metrics.write_text("")
    (before,) = SeenRequest(run, step=20).places()
    run.metrics.write_text(logged)
    (after,) = SeenRequest(run, step=20).places()
    assert before.metrics is None
    assert before.fingerprint != after.fingerprint


def test_places__of_every_category_group(runs_root: Path, factories: Any) -> None:
    options = {"snapshots": (10, 20)}, {"snapshots": (10,)}
    run = RunDir(factories.write_grouped_run(runs_root, modules=options))
    people, vehicles = factories.GROUPS
    assert [place.key for place in SeenRequest(run).places()] == [
        f"{people}, step 10",
        f"{vehicles}, step 10",
        f"{people}, step 20",
    ]
    module = SeenRequest(run.module(vehicles))
    assert [place.key for place in module.places()] == ["step 10"]
    assert module.title == f"demo {vehicles}"


def test_places__a_step_that_is_not_there(run: RunDir) -> None:
    with pytest.raises(UserError, match=r"--step must be one of .*10, 20, 30, 40.*got 25"):
        SeenRequest(run, step=25).places()


def test_places__no_snapshots(run: RunDir) -> None:
    shutil.rmtree(run.snapshots)
    with pytest.raises(UserError, match=r"must have snapshots .*training\.snapshot_every"):
        SeenRequest(run).places()


def test_name__is_the_runs_own(run: RunDir) -> None:
    name = SeenRequest(run).name()
    assert name.startswith("training-demo-")
    assert SeenRequest(RunDir(run.path / ".." / "demo")).name() == name
    others = SeenRequest(run, target_labels=True), SeenRequest(run, limit=2)
    assert len({name, *(other.name() for other in others)}) == 3
    assert SeenRequest(run, step=20).name() == name  # a part of the same data set


def test_identity__stays_while_the_run_goes_on(run: RunDir, factories: Any) -> None:
    factories.write_json(run.command, {"argv": [], "time": "2030-01-01T00:00:00+0000"})
    before = SeenRequest(run).identity()
    factories.append_metrics(run.path, [{"step": 999, "stage": 2}])
    factories.write_json(
        run.command, {"argv": [], "time": "2030-01-01T00:00:00+0000", "resumed": [{"time": "now"}]}
    )
    assert SeenRequest(run).identity() == before
    factories.write_json(run.command, {"argv": [], "time": "2031-01-01T00:00:00+0000"})
    assert SeenRequest(run).identity() != before


def test_reading__needs_no_fiftyone() -> None:

    code = "import sys; sys.modules['fiftyone'] = None; import workbench.sessions.seen.reading"
    subprocess.run([sys.executable, "-c", code], check=True)
