"""Labels of target crops, as diagnostics: what the pseudo-labels of a step should have been.

Snapshots hold none. Which crop a step shows follows from the run's configuration and the step, so
it is cut again, from the labelled image this time; labels are shown where the pixels are then those
of the snapshot, and nowhere else. Nothing of this reaches training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Int32
from numpy.typing import NDArray

from uda4inst.classes import NUM_THINGS, THING_NAMES
from uda4inst.data.stream.dataset import PairedDataset, TargetCrop, open_dataset
from uda4inst.data.tree import without
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from uda4inst.structures import IGNORE_ID
from uda4inst.training.config import load_config
from workbench.sessions.cutting import CutMask, cut_instances
from workbench.sessions.reading import GROUND_TRUTH
from workbench.sessions.seen.images import DETECTIONS, PSEUDO_LABELS, SeenImage, SeenObject

RIGHT, WRONG, NOT_JUDGED = "right", "wrong", "not judged"
_ENOUGH: Final = 0.5  # IoU of a pseudo-label that is right, as for AP50
_PROCESSES: Final = (1, 2, 4, 8, 16, 3, 5, 6, 7)  # that may have trained together; in vain is cheap


class TargetTruth:
    """Cuts labels of the target as a network's training cut its crops; picklable.

    Args:
        run: of the network.

    Raises:
        UserError: the run's method sees no unlabelled target, or the target has no labels.
    """

    def __init__(self, run: RunDir) -> None:
        config = load_config(run.config)
        if config.method.sees != "pair" or config.task.labels != "instances":
            raise UserError(
                "--target-labels must be asked for of runs that make pseudo-labels of instances, "
                f"got {config.method.name} ({config.task.name}, {run.path}). Leave it out."
            )
        self._classes = config.method.class_labels
        self._labelled = open_dataset(config.data.target, domain="target", labels="instances")
        self._stream = PairedDataset(
            config.data,
            mode="pair",
            seed=config.seed,
            labels=config.task.labels,
            classes=self._classes,
        )
        self._first_draw = config.training.draws_before * config.training.batch_size
        self._batch_size = config.training.batch_size
        self._processes: int | None = None

    def shown_in(self, images: Iterable[SeenImage], step: int) -> Iterator[SeenImage]:
        """Yield images, target crops with labels where those lie on them for certain."""
        for image in images:
            yield self._labelled_image(image, step) if image.domain == "target" else image

    def _labelled_image(self, image: SeenImage, step: int) -> SeenImage:
        place = image.facts["item"]
        assert isinstance(place, int)
        crop = self._crop_of(image, step, place - 1)
        if crop is None:
            return image
        ids, labels = self._cut(crop)
        truth = [
            SeenObject(THING_NAMES[label], mask, {"area": mask.area})
            for label, mask in zip(labels, cut_instances(ids, len(labels)), strict=True)
            if mask.mask.size
        ]
        verdicts = {
            name: [judged(one, ids, labels) for one in image.objects[name]]
            for name in (DETECTIONS, PSEUDO_LABELS)
            if name in image.objects
        }
        return replace(
            image,
            objects={**image.objects, **verdicts, GROUND_TRUTH: truth},
            facts={**image.facts, "labels": "diagnostics"},
        )

    def _crop_of(self, image: SeenImage, step: int, place: int) -> TargetCrop | None:
        """Return the crop whose pixels are the image's; None where none is."""
        known = (self._processes,) if self._processes is not None else _PROCESSES
        for processes in known:
            first = (self._first_draw + step * self._batch_size) * processes
            crop = self._stream.target_crop(first + place)
            pixels = crop.item.image.permute(1, 2, 0).numpy()
            if np.array_equal(pixels, image.pixels):
                self._processes = processes
                return crop
        return None

    def _cut(self, crop: TargetCrop) -> tuple[Int32[np.ndarray, "H W"], list[int]]:
        """Return ids and labels of the objects in a crop that the network learns."""
        objects = self._labelled.read_instances(crop.index)
        if self._classes is not None and len(self._classes) < NUM_THINGS:
            others = ~np.isin(objects.labels, self._classes)
            objects = without(objects, others, fill=0)
        return crop.transform.ids(objects.ids), objects.labels.tolist()


def judged(found: SeenObject, ids: Int32[np.ndarray, "H W"], labels: Sequence[int]) -> SeenObject:
    """Return a pseudo-label or a detection with its IoU with an object of its class, and a verdict.

    Right is an IoU of .5 or more; not judged is what lies for the most part on ignored pixels.
    """
    inside = _inside(found.mask, ids)
    if 2 * np.count_nonzero(inside == IGNORE_ID) > inside.size:
        return replace(found, facts={**found.facts, "verdict": NOT_JUDGED})
    shared = np.bincount(np.maximum(inside, 0), minlength=len(labels) + 1)[1:]
    areas = np.bincount(np.maximum(ids, 0).ravel(), minlength=len(labels) + 1)[1:]
    own = np.array([THING_NAMES[label] == found.label for label in labels], dtype=bool)
    unions = inside.size + areas - shared
    iou = float(np.max(shared[own] / np.maximum(unions[own], 1), initial=0.0))
    verdict = RIGHT if iou >= _ENOUGH else WRONG
    return replace(found, facts={**found.facts, "true_iou": iou, "verdict": verdict})


def _inside(mask: CutMask, ids: Int32[np.ndarray, "H W"]) -> NDArray[np.int32]:
    """Return the ids of the pixels of a mask."""
    rows, columns = mask.mask.shape
    box = ids[mask.top : mask.top + rows, mask.left : mask.left + columns]
    return box[mask.mask]
