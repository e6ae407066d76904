"""Snapshots read and their pictures written, in processes that never import FiftyOne."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from uda4inst.classes import IGNORE_TRAIN_ID
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir, read_config_values
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.structures import Size
from workbench.sessions.reading import files_of_largest, write_png
from workbench.sessions.seen.images import CLASS_MAPS, SeenDomain, SeenImage, SeenObject
from workbench.sessions.seen.request import SnapshotPlace
from workbench.sessions.seen.snapshot import images_of
from workbench.sessions.seen.truth import TargetTruth

_POOL: Final = "pool"  # folder of the pool's pictures, which many snapshots share


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """An image of a snapshot whose pictures lie on the disk.

    Args:
        domain: what kind of image it is.
        name: its own within the snapshot; of a pool entry, within the network's.
        image_name: the data set's name of the image it is, or is based on.
        picture: its file.
        size: (height, width).
        objects: by field.
        maps: files of values of every pixel, by field.
        facts: what else is known of it.
    """

    domain: SeenDomain
    name: str
    image_name: str
    picture: Path
    size: Size
    objects: Mapping[str, Sequence[SeenObject]]
    maps: Mapping[str, Path]
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class StoredSnapshot:
    """What a session holds of one snapshot.

    Args:
        place: where it was found.
        facts: stage and method.
        images: of it.
    """

    place: SnapshotPlace
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    images: Sequence[StoredImage] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SeenReading:
    """Reads snapshots by their number; picklable.

    Args:
        places: of the snapshots.
        folder: of the data set's media.
        min_valid_shares: of the networks' configurations by group, see `images_of`.
        truths: labels of target crops by group, where they are shown.
    """

    places: Sequence[SnapshotPlace]
    folder: Path
    min_valid_shares: Mapping[str, float]
    truths: Mapping[str, TargetTruth] | None = None

    def __call__(self, number: int) -> StoredSnapshot | None:
        """Return a snapshot, its pictures written; None if it has just made room for a newer one.

        Raises:
            UserError: it cannot be read, or the disk is full.
        """
        place = self.places[number]
        try:
            snapshot = read_snapshot(place.run, place.step)
        except UserError:
            if not place.run.snapshot_of(place.step).exists():
                return None
            raise
        images = images_of(snapshot, min_valid_share=self.min_valid_shares[place.group])
        if self.truths is not None:
            images = self.truths[place.group].shown_in(images, place.step)
        facts = {"stage": snapshot.stage, "method": snapshot.method}
        return StoredSnapshot(place, facts, [self._store(place, image) for image in images])

    def _store(self, place: SnapshotPlace, image: SeenImage) -> StoredImage:
        """Write the pictures of an image."""
        folder = folder_of(self.folder, place.group, place.step)
        if image.domain == "pool":
            folder = folder.with_name(_POOL)
        folder.mkdir(parents=True, exist_ok=True)
        picture = folder / f"{_file_name(image.name)}.png"
        if not (image.domain == "pool" and picture.exists()):  # named after what it shows
            write_png(image.pixels, picture)
        maps = {}
        for name, values in image.maps.items():
            maps[name] = picture.with_name(f"{picture.stem}_{name}.png")
            write_png(_shown(name, values), maps[name])
        size = (image.pixels.shape[0], image.pixels.shape[1])
        return StoredImage(
            image.domain,
            image.name,
            image.image_name,
            picture,
            size,
            _with_files(image.objects, picture),
            maps,
            image.facts,
        )


def folder_of(media: Path, group: str, step: int) -> Path:
    """Return where the pictures of a snapshot lie."""
    return media / (group or "network") / f"{step:08d}"


def _file_name(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def _shown(name: str, values: np.ndarray) -> np.ndarray:
    """Return a map as FiftyOne shows it: of trainIds, 0 is what is ignored."""
    if name not in CLASS_MAPS:
        return values
    assert values.max(initial=0) <= IGNORE_TRAIN_ID
    return values + np.uint8(1)  # 255, ignored, becomes 0


def _with_files(
    objects: Mapping[str, Sequence[SeenObject]], beside: Path
) -> dict[str, list[SeenObject]]:
    """Return objects with files named for the largest masks, where all are too much."""
    files = iter(files_of_largest([o.mask for rows in objects.values() for o in rows], beside))
    return {
        name: [replace(one, mask_file=next(files)) for one in rows]
        for name, rows in objects.items()
    }


def min_valid_share(run: RunDir) -> float:
    """Return how much of a pseudo-label had to lie off the ego vehicle; 0 where nothing is said."""
    value: object = read_config_values(run.config)
    for key in ("method", "ego", "min_valid_share"):
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0
