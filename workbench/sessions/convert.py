"""The project's values as FiftyOne's labels, and back: pure, and defined for every value.

An instance's mask is cut to its box, whose corners are shares of the image: multiplied by its size
and rounded they are the pixels again. FiftyOne leaves 0 of a semantic map undrawn, so that trainIds
are stored with one added and ignored pixels as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, THING_NAMES, thing_index
from uda4inst.detections import Detections
from uda4inst.formats.predictions import OUT_OF_CLASS, ImagePredictions, ScoredMask
from uda4inst.structures import EMPTY_SLOT, IGNORE_ID, InstanceMap, SemanticMap, Size
from workbench.sessions.cutting import CutMask, cut, cut_ignored, cut_instances
from workbench.sessions.library import fo

IGNORED: Final = "ignored"  # label of the pixels that count neither as object nor as background
OTHER: Final = "other"  # label of a detection of none of the eight classes
# Stored value -> class name, as FiftyOne's `mask_targets` wants it.
MASK_TARGETS: Final[Mapping[int, str]] = {c.train_id + 1: c.name for c in SEMANTIC_CLASSES}
_TO_STORED: Final = np.where(np.arange(256) == IGNORE_TRAIN_ID, 0, np.arange(256) + 1)
_FROM_STORED: Final = np.where(np.arange(256) == 0, IGNORE_TRAIN_ID, np.arange(256) - 1)


# Instances --------------------------------------------------------------------------------------


def to_objects(instances: InstanceMap, names: Sequence[str] = THING_NAMES) -> fo.Detections:
    """Return the instances that own pixels; empty slots and vanished instances are none.

    Args:
        instances: of one image.
        names: of the classes by thing index.
    """
    masks = cut_instances(instances.ids.cpu().numpy(), len(instances))
    labels = instances.labels.tolist()
    return fo.Detections(
        detections=[
            detection(names[int(label)], mask, instances.size)
            for label, mask in zip(labels, masks, strict=True)
            if label != EMPTY_SLOT and mask.mask.size
        ]
    )


def to_ignored(instances: InstanceMap) -> fo.Detections:
    """Return the ignored pixels as one region, or none."""
    mask = cut_ignored(instances.ids.cpu().numpy())
    found = [detection(IGNORED, mask, instances.size)] if mask.mask.size else []
    return fo.Detections(detections=found)


def from_objects(objects: fo.Detections, ignored: fo.Detections, size: Size) -> InstanceMap:
    """Return the map of objects and ignored regions; of overlapping ones the later is on top.

    Args:
        objects: as `to_objects` makes them.
        ignored: as `to_ignored` makes them.
        size: (height, width) of the image.
    """
    ids = np.zeros(size, dtype=np.int32)
    for region in ignored.detections:
        _paint(ids, region, IGNORE_ID)
    for number, found in enumerate(objects.detections, start=1):
        _paint(ids, found, number)
    labels = [thing_index(found.label) for found in objects.detections]
    return InstanceMap(ids=torch.from_numpy(ids), labels=torch.tensor(labels, dtype=torch.int64))


def detection(
    label: str, mask: CutMask, size: Size, *, mask_file: Path | None = None, **attributes: object
) -> fo.Detection:
    """Return one object.

    Args:
        label: its class.
        mask: its pixels.
        size: (height, width) of the image.
        mask_file: a picture of the mask, to be named in its place.
        attributes: what else is known of it; what is None is left out.
    """
    known = {name: value for name, value in attributes.items() if value is not None}
    return fo.Detection(
        label=label,
        bounding_box=relative_box(mask, size),
        mask=mask.mask if mask.mask.size and mask_file is None else None,
        mask_path=None if mask_file is None else str(mask_file.absolute()),
        **known,
    )


def relative_box(mask: CutMask, size: Size) -> list[float]:
    """Return left, top, width and height of a mask's box as shares of the image."""
    (rows, columns), (height, width) = mask.mask.shape, size
    return [mask.left / width, mask.top / height, columns / width, rows / height]


def cut_mask_of(found: fo.Detection, size: Size) -> CutMask:
    """Return the pixels of an object."""
    mask = found.get_mask()
    if mask is None:
        return CutMask(0, 0, np.zeros((0, 0), dtype=bool))
    left, top = found.bounding_box[0] * size[1], found.bounding_box[1] * size[0]
    return CutMask(round(left), round(top), np.asarray(mask) > 0)


def _paint(ids: np.ndarray, found: fo.Detection, value: int) -> None:
    """Write a value where an object is."""
    size = (ids.shape[0], ids.shape[1])
    ids[cut_mask_of(found, size).whole(size)] = value


# Semantic maps ----------------------------------------------------------------------------------


def to_stored(train_ids: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Return a semantic map as FiftyOne keeps it: trainId + 1, 0 ignored."""
    return _TO_STORED.astype(np.uint8)[train_ids]


def to_segmentation(semantic: SemanticMap) -> fo.Segmentation:
    """Return the classes of all pixels; weights, which are training's, are left out."""
    return fo.Segmentation(mask=to_stored(semantic.ids.cpu().numpy()))


def from_segmentation(segmentation: fo.Segmentation) -> SemanticMap:
    """Return the map that `to_segmentation`, or a file of stored values, holds."""
    stored = np.asarray(segmentation.get_mask()).astype(np.uint8)
    return SemanticMap(torch.from_numpy(_FROM_STORED.astype(np.uint8)[stored]))


# Predictions ------------------------------------------------------------------------------------


def to_detections(detections: Detections) -> fo.Detections:
    """Return scored detections in their order, overlaps and all; one may have no pixels.

    Raises:
        ValueError: they carry no full-size masks.
    """
    if detections.masks is None:
        raise ValueError("detections must carry full-size masks, got logits alone. Decode first.")
    masks = detections.masks.cpu().numpy()
    places = range(len(detections)) if detections.query is None else detections.query.tolist()
    columns = (detections.labels, detections.class_scores, detections.mask_scores)
    rows = zip(*(column.tolist() for column in columns), places, strict=True)
    return fo.Detections(
        detections=[
            detection(
                THING_NAMES[label],
                cut(masks[place]),
                detections.size,
                confidence=class_score * mask_score,
                class_score=class_score,
                mask_score=mask_score,
            )
            for label, class_score, mask_score, place in rows
        ]
    )


def from_detections(found: fo.Detections, size: Size) -> Detections:
    """Return the detections that `to_detections` was given, each with a mask of its own."""
    rows = found.detections
    masks = [cut_mask_of(row, size).whole(size) for row in rows]
    return Detections(
        labels=torch.tensor([thing_index(row.label) for row in rows], dtype=torch.int64),
        class_scores=_floats(row.class_score for row in rows),
        mask_scores=_floats(row.mask_score for row in rows),
        size=size,
        masks=torch.from_numpy(np.stack(masks) if masks else np.zeros((0, *size), dtype=bool)),
    )


def to_predictions(
    predictions: ImagePredictions, names: Sequence[str] = THING_NAMES
) -> fo.Detections:
    """Return the stored predictions of one image; those of no class are called other.

    Args:
        predictions: of one image.
        names: of the classes by thing index.
    """
    return fo.Detections(
        detections=[
            detection(
                names[one.label] if 0 <= one.label < len(names) else OTHER,
                cut(np.asarray(one.pixels())),
                predictions.size,
                confidence=float(one.score),
            )
            for one in predictions.detections
        ]
    )


def from_predictions(sample_id: str, found: fo.Detections, size: Size) -> ImagePredictions:
    """Return the predictions that `to_predictions` was given."""
    detections = tuple(
        ScoredMask(
            OUT_OF_CLASS if row.label == OTHER else thing_index(row.label),
            row.confidence,
            cut_mask_of(row, size).whole(size),
        )
        for row in found.detections
    )
    return ImagePredictions(sample_id, size, detections)


def _floats(values: Iterable[float]) -> torch.Tensor:
    return torch.tensor(list(values), dtype=torch.float32)
