"""What a labelled data set holds: instances, sizes and occlusion by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uda4inst.classes import CATEGORY_GROUPS
from uda4inst.data.tree import ImageTree


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

    def rare_classes(
        self, groups: Mapping[str, tuple[str, ...]] = CATEGORY_GROUPS
    ) -> dict[str, str]:
        """Return the least frequent class of each group, among those that occur at all.

        Groups of which no class occurs are left out; of equally frequent ones the first is taken.
        """
        by_name = {entry.name: entry for entry in self.classes}
        rare: dict[str, str] = {}
        for group, names in groups.items():
            present = [by_name[name] for name in names if by_name[name].instances > 0]
            if present:
                rare[group] = min(present, key=lambda entry: entry.instances).name
        return rare

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as JSON can hold them; null for what is not known."""
        raise NotImplementedError

    def to_text(self) -> str:
        """Return a table for people."""
        raise NotImplementedError


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
        UserError: the data set has no instances, or a label file cannot be read.
    """
    raise NotImplementedError
