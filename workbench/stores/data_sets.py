"""Which data sets the Data page looks at, opened once and forgotten after a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from uda4inst.data.config import DatasetRef
from uda4inst.data.readers import DATASETS
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from workbench.session import SessionState, TreeChoice
from workbench.stores.recent import Recent
from workbench.stores.runs import RunStore

Side = Literal["source", "target"]
SIDES: Final[tuple[Side, ...]] = ("source", "target")
# Where ToyStreets lies below the app's data folder, as its command writes it.
_TOY: Final[Mapping[Side, tuple[str, str]]] = {
    "source": ("urbansyn", "urbansyn"),
    "target": ("cityscapes", "cityscapes"),
}
_TREES_KEPT: Final = 6
# Files may come and go while the app runs; a tree is listed anew after this long.
_TREE_SECONDS: Final = 60.0


class DataSets:
    """Opens the trees a session looks at.

    Args:
        runs: whose configurations name trees.
        data_root: the ToyStreets folder.
        clock: seconds; replaced in tests.
    """

    def __init__(
        self, runs: RunStore, *, data_root: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runs = runs
        self._data_root = data_root
        self._clock = clock
        self._trees: Recent[tuple[DatasetRef, bool, int], ImageTree] = Recent(_TREES_KEPT)

    def chosen(self, session: SessionState, side: Side) -> TreeChoice:
        """Return what a side's controls hold: chosen by hand, else the run's, else ToyStreets."""
        choice = session.data.source if side == "source" else session.data.target
        if choice is not None:
            return choice
        written = self._written(session.run, side)
        if "root" in written:
            split = written.get("split", "train")
            return TreeChoice(str(written.get("format")), str(written["root"]), str(split))
        format_name, folder = _TOY[side]
        root = self._data_root / folder
        return TreeChoice(format_name, str(root) if root.is_dir() else "", "train")

    def ref(self, session: SessionState, side: Side) -> DatasetRef | None:
        """Return the images of a side, or None when no folder is named.

        What the run says about reading its format (such as objects to ignore) holds for every
        tree of that format.

        Raises:
            UserError: the format is unknown, or the split is empty.
        """
        choice = self.chosen(session, side)
        if not choice.root.strip():
            return None
        if choice.format not in DATASETS:
            raise UserError(
                f"format must be one of {', '.join(DATASETS)}, got {choice.format!r}. "
                "Choose one of them."
            )
        written = self._written(session.run, side)
        options = {key: written[key] for key in DatasetRef.model_fields if key in written}
        if written.get("format") != choice.format:
            options = {}
        place = {"format": choice.format, "root": choice.root.strip(), "split": choice.split}
        try:
            return DatasetRef.model_validate({**options, **place})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise UserError(
                f"data.{side}.{name} must be right: {first['msg']}, got {first['input']!r}. "
                "Choose another value."
            ) from error

    def open(self, ref: DatasetRef, side: Side, *, labels: bool) -> ImageTree:
        """Return the images, with or without their labels.

        Raises:
            UserError: the tree is missing or incomplete.
        """
        age = int(self._clock() / _TREE_SECONDS)
        return self._trees.get(
            (ref, labels, age),
            lambda: DATASETS[ref.format](
                Path(ref.root),
                ref.split,
                require_labels=labels,
                domain=side,
                options=ref.options(),
            ),
        )

    def _written(self, run: str | None, side: Side) -> Mapping[str, object]:
        """Return what a run's configuration says about a side; empty when it says nothing."""
        value = None if run is None else self._runs.setting(run, f"data.{side}")
        return value if isinstance(value, Mapping) else {}


def place_in(session: SessionState, side: Side, count: int) -> int:
    """Return the place of the image that a side of so many shows, from 0."""
    data = session.data
    place = data.source_position if side == "source" else data.target_position
    return min(max(place, 0), count - 1)


def labels_wanted(session: SessionState, side: Side) -> bool:
    """Whether a side is opened with labels: the target's only when a person asks for them."""
    return side == "source" or session.data.target_labels
