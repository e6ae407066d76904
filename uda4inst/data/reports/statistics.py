"""What a labelled data set holds: instances, sizes and occlusion by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from uda4inst.classes import CATEGORY_GROUPS, NUM_THINGS
from uda4inst.data.parallel import in_order
from uda4inst.data.reports.statistics_text import table_text
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError

_QUANTILES: Final = (0.1, 0.5, 0.9)
_OCTAVES: Final = 27  # the largest picture read has 2**26 pixels


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """The instances of one class.

    Args:
        name: of the class.
        instances: how many there are.
        share: of all instances, in [0, 1]; 0 where there are none at all.
        images: images that show at least one.
        area_quantiles: visible pixels below which 10, 50 and 90 percent lie; NaN without any.
        occlusion_mean: mean hidden share, in [0, 1]; None where it is not known of any.
        area_histogram: instances of 1, 2 to 3, 4 to 7, ... pixels: place k counts areas from 2**k.
        can_occur: False where the format has no such class.
    """

    name: str
    instances: int
    share: float
    images: int
    area_quantiles: tuple[float, float, float]
    occlusion_mean: float | None
    area_histogram: tuple[int, ...] = ()
    can_occur: bool = True


@dataclass(frozen=True, slots=True)
class DatasetStatistics:
    """What a data set holds.

    Args:
        name: the data set's name, for people.
        root: its folder.
        split: which part of it.
        images: how many were looked at.
        images_without_instances: how many of them show no instance.
        classes: all eight, in class order.
    """

    name: str
    root: Path
    split: str
    images: int
    images_without_instances: int
    classes: tuple[ClassStatistics, ...]

    @property
    def instances(self) -> int:
        """How many instances there are in all."""
        return sum(entry.instances for entry in self.classes)

    def rare_classes(self, groups: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, str]:
        """Return the least frequent class of each group, among those that occur at all.

        Groups of which no class occurs are left out; of equally frequent ones the first is taken.

        Args:
            groups: class names by group; None for people and cycles, vehicles, and own classes.
        """
        by_name = {entry.name: entry for entry in self.classes}
        if groups is None:
            groups = {**CATEGORY_GROUPS, "own": tuple(by_name)[NUM_THINGS:]}
        rare: dict[str, str] = {}
        for group, names in groups.items():
            present = [by_name[name] for name in names if by_name[name].instances > 0]
            if present:
                rare[group] = min(present, key=lambda entry: entry.instances).name
        return rare

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as JSON can hold them; null for what is not known."""
        classes = [asdict(entry) for entry in self.classes]
        for entry in classes:
            quantiles = entry["area_quantiles"]
            entry["area_quantiles"] = [None if math.isnan(v) else v for v in quantiles]
        return {
            "name": self.name,
            "root": str(self.root),
            "split": self.split,
            "images": self.images,
            "images_without_instances": self.images_without_instances,
            "instances": self.instances,
            "rare_classes": self.rare_classes(),
            "classes": classes,
        }

    def to_text(self) -> str:
        """Return a table for people."""
        return table_text(self)


def collect_statistics(
    dataset: ImageTree,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    limit: int | None = None,
) -> DatasetStatistics:
    """Read the labels of a data set and count what is in them; filtered objects are left out.

    Args:
        dataset: opened with labels.
        workers: processes; None for one per core, 0 or 1 for none besides this one.
        progress: called with (images done, images in all).
        limit: look at this many images only, spread evenly; None for all.

    Raises:
        UserError: the data set has no instances, the limit is below 1, or a label file cannot be
            read.
    """
    if not dataset.has_instances:
        raise UserError(
            f"data set must have instances to be counted, got {dataset.name}, which has none "
            f"({dataset.root}). Choose another format."
        )
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, got {limit}. Leave it out for all images.")
    count = len(dataset) if limit is None else min(limit, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()

    def show(done: int) -> None:
        if progress is not None:
            progress(done, count)

    read = _ReadObjects(dataset, tuple(chosen))
    images = list(in_order(read, count, workers=workers, progress=show))
    return DatasetStatistics(
        name=dataset.name,
        root=dataset.root,
        split=dataset.split,
        images=count,
        images_without_instances=sum(not len(image.labels) for image in images),
        classes=_by_class(images, dataset.thing_classes.names, dataset.possible_things),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _ImageObjects:
    """The objects of one image: class, visible pixels, hidden share (NaN unknown)."""

    labels: Int64[np.ndarray, " N"]
    areas: Int64[np.ndarray, " N"]
    occlusion: Float32[np.ndarray, " N"]


@dataclass(frozen=True, slots=True, eq=False)
class _ReadObjects:
    """Returns the objects of a chosen image."""

    dataset: ImageTree
    chosen: tuple[int, ...]

    def __call__(self, place: int) -> _ImageObjects:
        labels, facts = self.dataset.read_objects(self.chosen[place])
        areas = labels.areas()
        kept: Bool[np.ndarray, " N"] = self.dataset.options.objects.keeps(areas, facts)
        return _ImageObjects(labels.labels[kept], areas[kept], facts.occlusion[kept])


def _by_class(
    images: list[_ImageObjects], names: tuple[str, ...], things: tuple[int, ...]
) -> tuple[ClassStatistics, ...]:
    """Return the statistics of all classes."""
    counts = np.array([np.bincount(image.labels, minlength=len(names)) for image in images])
    labels = np.concatenate([image.labels for image in images])
    areas = np.concatenate([image.areas for image in images])
    occlusion = np.concatenate([image.occlusion for image in images]).astype(np.float64)
    classes: list[ClassStatistics] = []
    for thing, name in enumerate(names):
        mine = labels == thing
        known = occlusion[mine & ~np.isnan(occlusion)]
        low, middle, high = np.quantile(areas[mine], _QUANTILES) if mine.any() else (math.nan,) * 3
        octaves = np.floor(np.log2(np.maximum(areas[mine], 1))).astype(int)
        classes.append(
            ClassStatistics(
                name=name,
                instances=int(mine.sum()),
                share=float(mine.mean()) if len(labels) else 0.0,
                images=int(np.count_nonzero(counts[:, thing])),
                area_quantiles=(float(low), float(middle), float(high)),
                occlusion_mean=float(known.mean()) if len(known) else None,
                area_histogram=tuple(np.bincount(octaves, minlength=_OCTAVES).tolist()),
                can_occur=thing in things,
            )
        )
    return tuple(classes)
