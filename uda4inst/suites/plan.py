"""A suite about to be run: which runs, in which folder, and everything that comes before them.

The command line and the notebooks run suites through here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from uda4inst.errors import UserError
from uda4inst.run_folder.status import is_finished
from uda4inst.suites import data_check, folder, reuse, runner
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Cell
from uda4inst.suites.engines import Engine
from uda4inst.suites.expand import Expansion, RunSpec, cells_of, expand
from uda4inst.suites.folder import SuiteFolder
from uda4inst.suites.scales import SceneSets, find_scale
from uda4inst.toystreets.write import BeingWritten, write_toystreets

log = logging.getLogger(__name__)

_WAIT_SECONDS: Final = 0.5
# Told how many scenes of a scene set are drawn: set, done, all.
Drawing = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The runs that were asked for, beside those that the folder was made for before.

    Args:
        folder: of the suite.
        chosen: the runs that were asked for.
        everything: these and the earlier ones; the folder's description.
    """

    folder: SuiteFolder
    chosen: Expansion
    everything: Expansion

    @property
    def to_do(self) -> tuple[RunSpec, ...]:
        """Runs that are not finished; a first stage only where a run has yet to start from it."""
        return self.without(())

    def without(self, reused: Collection[str]) -> tuple[RunSpec, ...]:
        """Return the runs to do if these, by name, come from elsewhere."""
        left = [
            run
            for run in self.chosen.runs
            if run.name not in reused and not is_finished(self.folder.run(run.name))
        ]
        needed = {run.stage1 for run in left}
        return tuple(run for run in left if run.row or run.name in needed)

    def draw_scenes(self, watch: Drawing) -> None:
        """Draw the scene sets that unfinished runs need and that are not there.

        Raises:
            UserError: the disk is full, or something else lies in their place.
        """
        sets = self.chosen.scale.scenes
        for scenes in dict.fromkeys(run.cell.scenes for run in self.to_do):
            if sets is not None and scenes is not None:
                _draw(sets, scenes, watch)

    def reusable(self) -> dict[str, Path]:
        """Return where `take_over` would take runs from, by name."""
        return reuse.reusable(self.folder, self.chosen)

    def take_over(self, taken: Callable[[str, Path], None]) -> None:
        """Take finished runs of equal configuration from the suites beside this one.

        Args:
            taken: told each one with the folder it came from.

        Raises:
            UserError: the disk is full, or another process runs the suite.
        """
        with folder.locked(self.folder):
            folder.describe(self.folder, self.everything)
            for name, source in reuse.take_over(self.folder, self.chosen).items():
                taken(name, source)

    def run(self, engine: Engine, *, watch: runner.Watch | None = None) -> runner.SuiteOutcome:
        """Train what is left; see `runner.run_suite`.

        Args:
            engine: where the runs compute; closed at the end.
            watch: told about progress.

        Raises:
            UserError: data are missing, or another process runs the suite.
        """
        data_check.check_data(self.to_do, self.chosen.scale)
        with folder.locked(self.folder):
            folder.describe(self.folder, self.everything)
            return runner.run_suite(self.folder, self.chosen, engine, watch=watch)


def plan_suite(
    name: str,
    scale: str,
    *,
    seeds: Sequence[int],
    scenes: Sequence[int] = (),
    rows: Sequence[str] = (),
    root: Path,
    overrides: Sequence[str] = (),
) -> Plan:
    """Return a suite's plan; nothing is written.

    Args:
        name: of the suite.
        scale: smoke, toy or paper.
        seeds: of the trainings.
        scenes: seeds of scene sets; empty for the scale's own.
        rows: keys of the rows to run; empty for all.
        root: folder that holds the suites.
        overrides: key=value for every run, PRESET:key=value for those of one preset.

    Raises:
        UserError: no such suite, scale or row; a value is refused; or the folder has runs of
            another configuration.
    """
    if name not in SUITES:
        raise UserError(f"SUITE must be one of {', '.join(SUITES)}, got {name!r}.")
    size = find_scale(scale)
    wanted = cells_of(size, seeds, scenes)
    place = folder.suite_folder(root, name, scale)
    earlier = [cell for cell in folder.recorded_cells(place) if cell not in wanted]

    def expanded(cells: Sequence[Cell], rows: Sequence[str]) -> Expansion:
        return expand(
            SUITES[name], size, cells, root=place.runs.resolve(), overrides=overrides, rows=rows
        )

    chosen = expanded(wanted, rows)
    if not chosen.runs:
        raise UserError(
            f"suite must have rows with data at its scale, got {name} at scale {scale}, where none "
            "has any. Choose another scale, or other --rows."
        )
    known = {*chosen.rows, *folder.recorded_rows(place)}
    everything = expanded([*earlier, *wanted], sorted(known))
    folder.check_unchanged(place, everything)
    return Plan(place, chosen, everything)


def _draw(sets: SceneSets, scenes: int, watch: Drawing) -> None:
    """Draw a scene set; one that another suite is drawing is waited for."""
    is_waiting = False
    while True:
        try:
            write_toystreets(
                sets.tree(scenes),
                train=sets.train,
                val=sets.val,
                val_objects=sets.val_objects,
                seed=scenes,
                progress=lambda done, total: watch(scenes, done, total),
            )
            return
        except BeingWritten:
            if not is_waiting:
                log.info("scenes %d: another process draws them, waiting for it", scenes)
            is_waiting = True
            time.sleep(_WAIT_SECONDS)
