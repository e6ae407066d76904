"""The annotation that detections in a session are judged by: that of `uda4inst evaluate`, exactly.

What a session stores is enough for most formats: objects, which of them training's filters leave,
and the semantic map are all that `ImageTree.read_instance_ids` is made of. Labels are read again
where the stored map cannot tell from void what is none: caravans and trailers with a number of a
Cityscapes tree, the background of a COCO folder, and what a class map makes background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Int32

from uda4inst.data.config import DatasetRef
from uda4inst.data.instance_ids import to_instance_ids
from uda4inst.data.readers import Cityscapes, CocoFolder, format_class
from uda4inst.data.records import ImageRecord, LabelArrays
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.structures import Domain, Size
from workbench.sessions.convert import from_segmentation
from workbench.sessions.cutting import CutMask
from workbench.sessions.library import fo
from workbench.sessions.samples import SEMANTIC
from workbench.sessions.things import things_of

_VALUES: Final = ("id", "image_name", "domain", "filepath", "metadata.height", "metadata.width")


@dataclass(frozen=True, slots=True, eq=False)
class TrueObject:
    """One object of the stored ground truth.

    Args:
        thing: index of its class.
        mask: its pixels.
        is_learned: False where training ignores it, by the filters of its configuration.
    """

    thing: int
    mask: CutMask
    is_learned: bool


@dataclass(frozen=True, slots=True)
class _Image:
    """What is known of an image beside its objects."""

    name: str
    domain: Domain
    picture: Path
    size: Size
    semantic: Path | None


class Truths:
    """Raw instance ids of the images of a session.

    Args:
        samples: the images.

    Raises:
        UserError: they are not of a session of this project.
    """

    def __init__(self, samples: fo.SampleCollection) -> None:
        dataset = samples._root_dataset
        missing = [n for n in (*_VALUES[1:], SEMANTIC) if dataset.get_field(n) is None]
        if missing:
            raise UserError(
                f"data set {dataset.name!r} must be a session of this project, got one without "
                f"{', '.join(missing)}. Make one with 'uda4inst inspect'."
            )
        columns = samples.values([*_VALUES, f"{SEMANTIC}.mask_path"])
        self._images = {
            sample_id: _Image(
                name, domain, Path(picture), (int(height), int(width)), path and Path(path)
            )
            for sample_id, name, domain, picture, height, width, path in zip(*columns, strict=True)
        }
        self._things = things_of(dataset)
        self._places = dataset.info.get("uda4inst", {}).get("domains", {})
        self._trees: dict[str, tuple[ImageTree, dict[str, int]]] = {}

    def size_of(self, sample_id: str) -> Size:
        """Return (height, width) of an image."""
        return self._images[sample_id].size

    def name_of(self, sample_id: str) -> str:
        """Return what the project calls an image."""
        return self._images[sample_id].name

    def instance_ids(
        self, sample_id: str, objects: Sequence[TrueObject]
    ) -> Int32[np.ndarray, "H W"]:
        """Return the raw values that `uda4inst evaluate` reads for the image.

        Args:
            sample_id: of the image in FiftyOne.
            objects: all that are stored for it, in their order.

        Raises:
            UserError: labels that are read again are gone or damaged.
        """
        image = self._images[sample_id]
        if _is_read_again(self._places.get(image.domain, {})):
            return self._raw_ids(image)
        learned = [one for one in objects if one.is_learned]
        ids = np.zeros(image.size, dtype=np.int32)
        for number, one in enumerate(learned, start=1):
            rows, columns = one.mask.mask.shape
            top, left = one.mask.top, one.mask.left
            ids[top : top + rows, left : left + columns][one.mask.mask] = number
        labels = np.array([one.thing for one in learned], dtype=np.int64)
        record = ImageRecord(image.name, image.picture, (), image.domain)
        return to_instance_ids(LabelArrays(ids, labels, _train_ids(image)), record, self._things)

    def _raw_ids(self, image: _Image) -> Int32[np.ndarray, "H W"]:
        """Read the labels again."""
        if image.domain not in self._trees:
            ref = DatasetRef.model_validate(self._places[image.domain]["ref"])
            open_tree = format_class(ref.format)
            tree = open_tree(Path(ref.root), ref.split, domain=image.domain, options=ref.options())
            names = {tree.basename(index): index for index in range(len(tree))}
            self._trees[image.domain] = tree, names
        tree, names = self._trees[image.domain]
        if image.name not in names:
            raise UserError(
                f"image must be in its data set still, got {image.name!r}, which is gone "
                f"({tree.root}, {tree.split}). Open the session again."
            )
        return tree.read_instance_ids(names[image.name])


def _is_read_again(place: Mapping[str, Any]) -> bool:
    """Whether what is stored of a data set's labels is not all that judging needs."""
    kinds = (Cityscapes.name, CocoFolder.name)
    return place.get("data_set") in kinds or bool(place.get("ref", {}).get("class_map"))


def _train_ids(image: _Image) -> np.ndarray:
    """Return the semantic map, all ignored where there is none."""
    if image.semantic is None:
        return np.full(image.size, 255, dtype=np.uint8)
    return from_segmentation(fo.Segmentation(mask_path=str(image.semantic))).ids.numpy()
