"""Target crops with their labels, as diagnostics, and what is right of what the teacher said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Int32, UInt8
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, THING_NAMES
from uda4inst.data.stream.dataset import TargetCrop
from uda4inst.evaluation.pixel_verdicts import judge_kept
from uda4inst.run_folder.layout import RunDir
from uda4inst.structures import IGNORE_ID
from workbench.sessions.cutting import CutMask, cut_instances
from workbench.sessions.reading import GROUND_TRUTH
from workbench.sessions.seen.images import (
    DETECTIONS,
    KEPT_PIXELS,
    LIKELIEST,
    PRECISION,
    PSEUDO_LABELS,
    RECALL,
    VERDICTS,
    PixelVerdict,
    SeenImage,
    SeenObject,
)
from workbench.stores.target_crops import TargetCrops

RIGHT, WRONG, NOT_JUDGED = "right", "wrong", "not judged"
_ENOUGH: Final = 0.5  # IoU of a pseudo-label that is right, as for AP50


class TargetTruth:
    """Labels target crops of a network's snapshots; picklable.

    Args:
        run: of the network.

    Raises:
        UserError: the run's method sees no unlabelled target, or the target has no labels.
    """

    def __init__(self, run: RunDir) -> None:
        self._crops = TargetCrops(run)

    def shown_in(self, images: Iterable[SeenImage], step: int) -> Iterator[SeenImage]:
        """Yield images, target crops with labels where those lie on them for certain."""
        for image in images:
            yield self._labelled_image(image, step) if image.domain == "target" else image

    def _labelled_image(self, image: SeenImage, step: int) -> SeenImage:
        place = image.facts["item"]
        assert isinstance(place, int)
        crop = self._crops.find(image.pixels, step, place - 1)
        if crop is None:
            return image
        image = replace(image, facts={**image.facts, "labels": "diagnostics"})
        if self._crops.task.labels == "semantic":
            return judged_pixels(image, self._crops.semantic(crop))
        return self._with_objects(image, crop)

    def _with_objects(self, image: SeenImage, crop: TargetCrop) -> SeenImage:
        """Return a crop with its objects, and what was found judged by them."""
        ids, labels = self._crops.instances(crop)
        names = self._crops.task.class_names
        truth = [
            SeenObject(names[label], mask, {"area": mask.area})
            for label, mask in zip(labels, cut_instances(ids, len(labels)), strict=True)
            if mask.mask.size
        ]
        verdicts = {
            name: [judged(one, ids, labels, names) for one in image.objects[name]]
            for name in (DETECTIONS, PSEUDO_LABELS)
            if name in image.objects
        }
        return replace(image, objects={**image.objects, **verdicts, GROUND_TRUTH: truth})


def judged_pixels(image: SeenImage, truth: UInt8[np.ndarray, "H W"]) -> SeenImage:
    """Return a target crop with its semantic map, and its pseudo-labels of pixels judged by it.

    Args:
        image: with pseudo-labels of pixels or without.
        truth: trainIds, 255 where nothing is known; such pixels are not judged.
    """
    if LIKELIEST not in image.maps:
        return replace(image, maps={**image.maps, GROUND_TRUTH: truth})
    best, kept = image.maps[LIKELIEST], image.maps[KEPT_PIXELS] > 0
    found = judge_kept(best, truth, kept)
    every = judge_kept(best, truth, np.ones_like(kept))
    facts = {
        "accuracy": _known(every.precision_of_all),
        PRECISION: _by_class(found.precision_of_all, found.precision()),
        RECALL: _by_class(found.recall_of_all, found.recall()),
    }
    return replace(
        image,
        maps={**image.maps, GROUND_TRUTH: truth, VERDICTS: _verdicts(best == truth, kept, truth)},
        facts={**image.facts, **facts},
    )


def _verdicts(
    right: NDArray[np.bool_], kept: NDArray[np.bool_], truth: NDArray[np.uint8]
) -> UInt8[np.ndarray, "H W"]:
    """Return a `PixelVerdict` of every pixel, 0 where nothing is known."""
    verdicts = np.where(
        kept,
        np.where(right, PixelVerdict.KEPT_RIGHT, PixelVerdict.KEPT_WRONG),
        np.where(right, PixelVerdict.DROPPED_RIGHT, PixelVerdict.DROPPED_WRONG),
    )
    return np.where(truth == IGNORE_TRAIN_ID, 0, verdicts).astype(np.uint8)


def _by_class(of_all: float, by_class: NDArray[np.float64]) -> Mapping[str, float | None]:
    names = (c.name for c in SEMANTIC_CLASSES)
    return {
        "all": _known(of_all),
        **{name: _known(share) for name, share in zip(names, by_class.tolist(), strict=True)},
    }


def _known(share: float) -> float | None:
    return None if np.isnan(share) else share


def judged(
    found: SeenObject,
    ids: Int32[np.ndarray, "H W"],
    labels: Sequence[int],
    names: Sequence[str] = THING_NAMES,
) -> SeenObject:
    """Return a pseudo-label or a detection with its IoU with an object of its class, and a verdict.

    Right is an IoU of .5 or more; not judged is what lies for the most part on ignored pixels.
    """
    inside = _inside(found.mask, ids)
    if 2 * np.count_nonzero(inside == IGNORE_ID) > inside.size:
        return replace(found, facts={**found.facts, "verdict": NOT_JUDGED})
    shared = np.bincount(np.maximum(inside, 0), minlength=len(labels) + 1)[1:]
    areas = np.bincount(np.maximum(ids, 0).ravel(), minlength=len(labels) + 1)[1:]
    own = np.array([names[label] == found.label for label in labels], dtype=bool)
    unions = inside.size + areas - shared
    iou = float(np.max(shared[own] / np.maximum(unions[own], 1), initial=0.0))
    verdict = RIGHT if iou >= _ENOUGH else WRONG
    return replace(found, facts={**found.facts, "true_iou": iou, "verdict": verdict})


def _inside(mask: CutMask, ids: Int32[np.ndarray, "H W"]) -> NDArray[np.int32]:
    """Return the ids of the pixels of a mask."""
    rows, columns = mask.mask.shape
    box = ids[mask.top : mask.top + rows, mask.left : mask.left + columns]
    return box[mask.mask]
