"""Labels of target crops, as diagnostics: what the pseudo-labels of a step should have been.

Snapshots hold none. Which crop a step shows follows from the run's configuration and the step, so
it is cut again, from the labelled image this time; labels are given where the pixels are then those
of the snapshot, and nowhere else. Nothing of this reaches training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int32, UInt8
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID
from uda4inst.data.stream.dataset import PairedDataset, TargetCrop, open_dataset
from uda4inst.data.tree import without
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import snapshot_changed
from uda4inst.training.config import load_config
from workbench.stores.recent import Recent

Map = NDArray[np.uint8]
_PROCESSES: Final = (1, 2, 4, 8, 16, 3, 5, 6, 7)  # that may have trained together; in vain is cheap


class TargetCrops:
    """Cuts labels of the target as a network's training cut its crops; picklable.

    Args:
        run: of the network.

    Raises:
        UserError: the run's method sees no unlabelled target, or the target has no labels.
    """

    def __init__(self, run: RunDir) -> None:
        config = load_config(run.config)
        if config.method.sees != "pair":
            raise UserError(
                "target labels must be asked for of runs that see unlabelled target images, got "
                f"{config.method.name} ({run.path}). Leave them out."
            )
        self.task = config.task
        self._classes = config.method.class_labels
        self._labelled = open_dataset(config.data.target, domain="target", labels=self.task.labels)
        self._stream = PairedDataset(
            config.data,
            mode="pair",
            seed=config.seed,
            labels=self.task.labels,
            classes=self._classes,
        )
        self._first_draw = config.training.draws_before * config.training.batch_size
        self._batch_size = config.training.batch_size
        self._processes: int | None = None

    def find(self, pixels: UInt8[np.ndarray, "H W 3"], step: int, place: int) -> TargetCrop | None:
        """Return the crop whose pixels a snapshot shows; None where none is.

        Args:
            pixels: RGB, as the snapshot has them.
            step: of the snapshot.
            place: position in the batch, from 0.
        """
        known = (self._processes,) if self._processes is not None else _PROCESSES
        for processes in known:
            first = (self._first_draw + step * self._batch_size) * processes
            crop = self._stream.target_crop(first + place)
            if np.array_equal(crop.item.image.permute(1, 2, 0).numpy(), pixels):
                self._processes = processes
                return crop
        return None

    def instances(self, crop: TargetCrop) -> tuple[Int32[np.ndarray, "H W"], list[int]]:
        """Return ids and labels of the objects in a crop that the network learns."""
        objects = self._labelled.read_instances(crop.index)
        if len(self._classes) < len(self._labelled.thing_classes):
            others = ~np.isin(objects.labels, self._classes)
            objects = without(objects, others, fill=0)
        return crop.transform.ids(objects.ids), objects.labels.tolist()

    def semantic(self, crop: TargetCrop) -> UInt8[np.ndarray, "H W"]:
        """Return the class of every pixel of a crop: trainIds, 255 where nothing is known."""
        train_ids = self._labelled.read_semantic(crop.index)
        return np.ascontiguousarray(crop.transform.map(train_ids, fill=IGNORE_TRAIN_ID))


class TargetLabels:
    """Labels of target crops of the runs under one folder; the few cut last stay in memory.

    Args:
        root: of the runs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._crops: Recent[tuple[RunDir, int], TargetCrops] = Recent(2)
        self._maps: Recent[tuple[RunDir, int, int, int | None, int], Map | None] = Recent(8)

    def semantic(
        self, run: str, step: int, place: int, pixels: UInt8[np.ndarray, "H W 3"]
    ) -> Map | None:
        """Return the class of every pixel of a target crop; None where the crop is not found.

        Args:
            run: of a network.
            step: of the snapshot.
            place: position in the batch, from 0.
            pixels: RGB, as the snapshot has them.

        Raises:
            UserError: the run's method sees no unlabelled target, or the target has no labels.
        """
        folder = RunDir(self._root / run)
        written = folder.config.stat().st_mtime_ns
        key = (folder, step, place, snapshot_changed(folder, step), written)
        crops = self._crops.get((folder, written), lambda: TargetCrops(folder))
        return self._maps.get(key, lambda: _cut(crops, pixels, step, place))


def _cut(crops: TargetCrops, pixels: Map, step: int, place: int) -> Map | None:
    crop = crops.find(pixels, step, place)
    return None if crop is None else crops.semantic(crop)
