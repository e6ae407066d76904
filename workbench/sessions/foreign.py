"""Predictions that were made elsewhere, in the data set of the images they are of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uda4inst.data.files.cache import fingerprint
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.scoring import read_detections
from uda4inst.formats.predictions import ImagePredictions
from uda4inst.tasks.base import Task
from uda4inst.tasks.instances import INSTANCES
from workbench.sessions.building import DataSession, Progress
from workbench.sessions.data_session import open_data_session
from workbench.sessions.request import DataRequest, open_sides
from workbench.sessions.run_session import hold


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """A submission folder in Cityscapes' format, COCO results, or a run's predictions file.

    Args:
        path: see `uda4inst.evaluation.scoring.evaluate_predictions`.
        tree: the images they are of.
    """

    path: Path
    tree: ImageTree

    @property
    def title(self) -> str:
        """The file's or folder's name; of a run's file, which network's every run has, its path."""
        return str(self.path) if self.path.suffix == ".gz" else self.path.name

    @property
    def field(self) -> str:
        """Its field in FiftyOne."""
        return f"file_{re.sub('[^a-z0-9]+', '_', self.title.lower()).strip('_')}"

    @property
    def key(self) -> str:
        """Its evaluation by the Cityscapes protocol."""
        return f"ap_{self.field}"

    @property
    def task(self) -> Task:
        """Instances: there is no common format of label maps with scores."""
        return INSTANCES

    @property
    def classes(self) -> tuple[str, ...]:
        """All: whoever made them answers for each."""
        return self.tree.thing_classes.names

    @property
    def score_threshold(self) -> float | None:
        """None: nobody makes pseudo-labels of them."""
        return None

    def fingerprint(self) -> str:
        """Return what changes with the files."""
        files = sorted(p for p in self.path.rglob("*") if p.is_file())
        return fingerprint(files or [self.path], self.title)

    def facts(self) -> dict[str, Any]:
        """Return the path, and how many images the data set has."""
        return {"predictions": str(self.path), "images_there": self.tree.images_there}

    def detections(self) -> Iterator[ImagePredictions]:
        """Yield the detections of every image of the tree.

        Raises:
            UserError: anything about the files that the user can mend, naming file and entry.
        """
        found = read_detections(self.path, self.tree)
        for index, detections in enumerate(found):
            size = self.tree.size_of(index)
            yield ImagePredictions(self.tree.records[index].sample_id, size, detections)


def open_foreign_session(
    paths: list[Path],
    request: DataRequest,
    *,
    fresh: bool = False,
    progress: Progress | None = None,
) -> DataSession:
    """Return the session of some images with predictions made elsewhere, judged.

    Args:
        paths: at least one; see `Foreign`.
        request: of one domain, with labels.
        fresh: build everything again.
        progress: called while images and predictions are added, and while these are judged.

    Raises:
        UserError: as `open_data_session`; nothing is at a path, the images have no labels, or two
            cannot be told apart.
    """
    (side,) = open_sides(request)
    if side.labels == "none":
        raise UserError(
            f"--target must have labels to judge by, got a data set without ({side.tree.root}). "
            "Show the images alone: uda4inst inspect data"
        )
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise UserError(
            "PREDICTIONS must be a Cityscapes submission folder, a COCO results .json or a "
            f"predictions .jsonl.gz, got nothing there ({missing[0]}). Check the path."
        )
    given = [Foreign(path, side.tree) for path in paths]
    if len({one.field for one in given}) < len(given):
        raise UserError(
            "predictions must have different names to stand in one session, got "
            f"{', '.join(map(str, paths))}. Rename one."
        )
    session = open_data_session(request, fresh=fresh, progress=progress)
    return hold(session, given, progress=progress)
