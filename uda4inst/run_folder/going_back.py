"""A run taken back to an earlier checkpoint, which costs nothing that was there.

Either another run begins at the checkpoint (`fork`), or what came after it is moved into
RUN/replaced/ (`set_aside`). A run that was killed has nothing after its latest checkpoint but what
it will do again to the same bits; that is not asked about.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from uda4inst.atomic import (
    disk_errors,
    link_or_copy,
    new_folder,
    put_in_place,
    write_json,
    write_whole,
)
from uda4inst.errors import UserError
from uda4inst.run_folder.checkpoints import LATEST, complete_steps, open_checkpoint
from uda4inst.run_folder.commit import current_commit
from uda4inst.run_folder.layout import RunDir, check_is_new, numbered
from uda4inst.run_folder.metrics import cut_metrics
from uda4inst.run_folder.status import Status

REPLACED: Final = "replaced"


@dataclass(frozen=True, slots=True)
class Later:
    """What a run has after a step, by the steps of each.

    Args:
        checkpoints: complete ones.
        evaluations: results.
        snapshots: of steps that would be done again.
    """

    checkpoints: tuple[int, ...]
    evaluations: tuple[int, ...]
    snapshots: tuple[int, ...]

    @property
    def is_lost(self) -> bool:
        """Whether doing the steps again would cost more than the time."""
        return bool(self.checkpoints or self.evaluations)

    def __str__(self) -> str:
        """Return it in words: "checkpoints 400, 450; evaluations 450"."""
        parts = (
            ("checkpoints", self.checkpoints),
            ("evaluations", self.evaluations),
            ("snapshots", self.snapshots),
        )
        return "; ".join(f"{what} {', '.join(map(str, steps))}" for what, steps in parts if steps)


def results_after(run: RunDir, step: int) -> Later:
    """Return what a run has after a step.

    Args:
        run: of one network.
        step: updates done.
    """
    return Later(
        checkpoints=tuple(s for s in complete_steps(run.checkpoints) if s > step),
        evaluations=tuple(s for s in numbered(run.evaluation) if s > step),
        snapshots=tuple(s for s in numbered(run.snapshots) if s >= step),
    )


def check_nothing_is_lost(run: RunDir, step: int) -> None:
    """Raise if a run would lose results by going on from a step.

    Raises:
        UserError: it has checkpoints or evaluations after it; the message has both ways out.
    """
    later = results_after(run, step)
    if later.is_lost:
        raise UserError(
            f"--from must be the run's last step, unless what came after it may go, got {step}, "
            f"after which {run.path} has {later}. Go on under another name: `uda4inst fork "
            f"{run.path} NAME --from {step}`, or move that into {run.path / REPLACED}: "
            f"`uda4inst resume {run.path} --from {step} --replace`."
        )


def set_aside(run: RunDir, step: int) -> Path | None:
    """Move what a run has after a step into a new folder below `replaced/`; it stays readable.

    A kill, or a full disk, leaves every file in one of the two places, and the run at the newest
    checkpoint that it still has; the next call moves the rest.

    Args:
        run: of one network, at rest.
        step: updates done; its checkpoint, if there is one, stays.

    Returns:
        The folder, laid out as a run; None where there is nothing to move.

    Raises:
        UserError: it cannot be written.
    """
    later = results_after(run, step)
    if not (later.is_lost or later.snapshots):
        return None
    aside = _free(run.path / REPLACED, f"after_{step:08d}")
    again = f"`uda4inst resume {run.path} --from {step} --replace`"
    with disk_errors("what is replaced", aside, then=again):
        into = RunDir(aside)
        # Whole before anything is moved into it: a folder without a run in it would be in the way.
        with new_folder(aside) as temporary:
            _lay_out(RunDir(temporary), run)
        moves = [(run.evaluation_of(s), into.evaluation_of(s)) for s in later.evaluations]
        moves += [(run.predictions_of(s), into.predictions_of(s)) for s in later.evaluations]
        moves += [(run.snapshot_of(s), into.snapshot_of(s)) for s in later.snapshots]
        names = [f"{s:08d}" for s in later.checkpoints]
        moves += [(run.checkpoints / name, into.checkpoints / name) for name in names]
        for source, target in moves:
            if source.exists():
                put_in_place(source, target)
        # Last: whoever resumes without --from before that goes on from a checkpoint that is there.
        if (run.checkpoints / f"{step:08d}").is_dir():
            write_whole(run.checkpoints / LATEST, f"{step:08d}\n")
    return aside


def _lay_out(into: RunDir, run: RunDir) -> None:
    """Put into a folder what of a run is copied, and folders for what is moved."""
    for folder in (into.checkpoints, into.snapshots, into.predictions_of(0).parent):
        folder.mkdir(parents=True)
    shutil.copy2(run.config, into.config)
    if run.metrics.exists():
        shutil.copy2(run.metrics, into.metrics)


def fork(
    run: RunDir,
    new: RunDir,
    *,
    step: int,
    steps: int,
    config_yaml: str,
    modules: Mapping[str, str] | None = None,
) -> None:
    """Make a run that begins at another's checkpoint, with everything before it.

    Files that are never changed are shared (hard links) where the disk can; `parent.json` names
    the run and the step. It is there whole or not at all, and the other run stays as it is.

    Args:
        run: the other.
        new: where; must be free.
        step: of a complete checkpoint; of every category group, where there are several.
        steps: length of the run, over all its networks.
        config_yaml: its configuration.
        modules: configurations of its category groups by module name; none for one network.

    Raises:
        UserError: the name is taken; a checkpoint is missing or damaged; it cannot be written.
    """
    check_is_new(new)
    if new.path.exists() and any(new.path.iterdir()):
        raise UserError(
            f"NAME must be new, got {new.name!r}, a folder with files in it ({new.path}). "
            "Choose another."
        )
    with (
        disk_errors("run folder", new.path, then="fork again"),
        new_folder(new.path) as temporary,
    ):
        folder = RunDir(temporary)
        _fill(folder, run, step=step, config_yaml=config_yaml)
        stage = 1
        for name, module_yaml in (modules or {}).items():
            folder.module(name).path.mkdir(parents=True)
            _fill(folder.module(name), run.module(name), step=step, config_yaml=module_yaml)
            stage = _share_checkpoints(folder.module(name), run.module(name), step=step)
        if not modules:
            stage = _share_checkpoints(folder, run, step=step)
        parent = {
            "run": str(run.path.resolve()),
            "step": step,
            "commit": current_commit(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_json(folder.parent, parent)
        status = Status(
            "stopped",
            step=step * max(1, len(modules or ())),
            steps=steps,
            stage=stage,
            started=parent["time"],
            message=f"Forked from {run.name} at step {step}.",
        )
        write_json(folder.status, asdict(status))


def _fill(new: RunDir, run: RunDir, *, step: int, config_yaml: str) -> None:
    """Put what a run has up to a step into a folder, but for its checkpoints."""
    for folder in (new.checkpoints, new.snapshots, new.evaluation, new.control):
        folder.mkdir()
    write_whole(new.config, config_yaml)
    if run.metrics.exists():
        shutil.copy2(run.metrics, new.metrics)
        cut_metrics(new.metrics, step)
    for number in numbered(run.snapshots):
        if number < step:
            _share_folder(run.snapshot_of(number), new.snapshot_of(number))
    for number in numbered(run.evaluation):
        if number <= step:
            shutil.copy2(run.evaluation_of(number), new.evaluation_of(number))
            if run.predictions_of(number).is_dir():
                _share_folder(run.predictions_of(number), new.predictions_of(number))


def _share_checkpoints(new: RunDir, run: RunDir, *, step: int) -> int:
    """Take the checkpoint of a step, and those before it; return its stage."""
    stage = open_checkpoint(run.checkpoints, step=step).stage
    for number in complete_steps(run.checkpoints):
        if number <= step:
            name = f"{number:08d}"
            _share_folder(run.checkpoints / name, new.checkpoints / name)
    write_whole(new.checkpoints / LATEST, f"{step:08d}\n")
    return stage


def _share_folder(source: Path, target: Path) -> None:
    """Give files a second name, or copy them where the disk has no such thing."""
    shutil.copytree(source, target, copy_function=link_or_copy)


def _free(folder: Path, name: str) -> Path:
    """Return the first path that is not taken: name, name_2, ..."""
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{name}_{number}"
    return path
