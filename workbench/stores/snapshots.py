"""The snapshots of runs; the few that were read last stay in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uda4inst.run_folder.layout import RunDir, numbered
from uda4inst.run_folder.snapshot_reader import Snapshot, read_snapshot, snapshot_changed
from workbench.stores.groups import check_name
from workbench.stores.recent import Recent


class SnapshotStore:
    """Finds and reads the snapshots of the runs under one folder."""

    def __init__(self, root: Path, *, kept: int = 6) -> None:
        self._root = root
        self._recent: Recent[tuple[RunDir, int, int | None], Snapshot] = Recent(kept)

    def steps(self, run: str) -> list[int]:
        """Return the steps that have a snapshot, oldest first."""
        return numbered(RunDir(self._root / check_name(run)).snapshots)

    def read(self, run: str, step: int) -> Snapshot:
        """Return the snapshot of a step.

        Raises:
            UserError: it is not kept any more, or cannot be read.
        """
        place = RunDir(self._root / check_name(run))
        key = (place, step, snapshot_changed(place, step))
        return self._recent.get(key, lambda: read_snapshot(place, step))


def nearest(steps: Sequence[int], step: int) -> int:
    """Return the kept step closest to the one wanted."""
    return min(steps, key=lambda known: (abs(known - step), known))
