"""What a run loses by going back to an earlier checkpoint: nothing."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder import going_back
from uda4inst.run_folder.checkpoints import LATEST, MANIFEST, complete_steps, latest_step
from uda4inst.run_folder.going_back import REPLACED, set_aside
from uda4inst.run_folder.layout import RunDir, numbered

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run at rest with checkpoints 400, 450 and 500 and evaluations of the first and last."""
    run = RunDir(tmp_path / "run")
    for folder in (run.checkpoints, run.snapshots, run.evaluation, run.control):
        folder.mkdir(parents=True)
    run.config.write_text("seed: 0\n")
    run.metrics.write_text('{"step": 1}\n')
    for step in (400, 450, 500):
        folder = run.checkpoints / f"{step:08d}"
        folder.mkdir()
        (folder / MANIFEST).write_text("{}")
    (run.checkpoints / LATEST).write_text("00000500\n")
    for step in (400, 500):
        run.evaluation_of(step).write_text("{}")
    return run


def everything(run: RunDir) -> tuple[set[int], set[int]]:
    """Checkpoints and evaluations in the run and in all that was set aside."""
    places = [run, *(RunDir(path) for path in (run.path / REPLACED).glob("after_*"))]
    return (
        {step for place in places for step in complete_steps(place.checkpoints)},
        {step for place in places for step in numbered(place.evaluation)},
    )


def test_set_aside__moves_what_comes_after(run: RunDir) -> None:
    aside = set_aside(run, 400)
    assert aside is not None
    assert complete_steps(run.checkpoints) == [400]
    assert numbered(run.evaluation) == [400]
    assert latest_step(run.checkpoints) == 400
    assert complete_steps(RunDir(aside).checkpoints) == [450, 500]
    assert set_aside(run, 400) is None


@pytest.mark.parametrize("moved", range(4), ids=["nothing was moved", "one", "two", "all"])
def test_set_aside__without_room_loses_nothing_and_says_how_to_go_on(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    done: list[Path] = []
    real = going_back.put_in_place

    def until_full(source: Path, target: Path) -> None:
        if len(done) == moved:
            raise NO_ROOM
        done.append(source)
        real(source, target)

    def no_more(*_: object) -> None:
        raise NO_ROOM

    with monkeypatch.context() as patch:
        patch.setattr(going_back, "put_in_place", until_full)
        patch.setattr(going_back, "write_whole", no_more)
        command = re.escape(f"uda4inst resume {run.path} --from 400 --replace")
        with pytest.raises(UserError, match=command):
            set_aside(run, 400)
    # Whoever resumes without --from loses nothing: the run is at the newest that it has.
    assert latest_step(run.checkpoints) == max(complete_steps(run.checkpoints))
    assert everything(run) == ({400, 450, 500}, {400, 500})
    set_aside(run, 400)
    assert complete_steps(run.checkpoints) == [400]
    assert everything(run) == ({400, 450, 500}, {400, 500})


def test_set_aside__without_room_for_the_first_file_leaves_no_folder(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise NO_ROOM

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(UserError, match="--from 400 --replace"):
        set_aside(run, 400)
    assert list((run.path / REPLACED).iterdir()) == []
    assert latest_step(run.checkpoints) == 500
