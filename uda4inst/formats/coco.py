"""COCO's instance JSON: ground truth, and result files.

Ids, all starting at 1 (pycocotools takes a match id of 0 for "unmatched"): images by sorted name,
categories in the order of the thing classes, annotations by image and raw value. Masks are
compressed run-length codes of the exact pixels: holes, parts and occlusion stay.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import EIGHT, LABEL_TO_THING, RAW_TO_THING, THING_NAMES, ThingClasses
from uda4inst.errors import UserError
from uda4inst.formats.predictions import (
    OUT_OF_CLASS,
    ImagePredictions,
    ScoredMask,
    basename,
    writing_text,
)
from uda4inst.formats.rle import as_rle, rle_encode
from uda4inst.ops.masks import box_xywh
from uda4inst.reading import MAX_DATA, parse_json, read_bytes
from uda4inst.structures import Size

_SHOWN_OFFENDERS: Final = 5
_FIRST_INSTANCE_ID: Final = 24  # Cityscapes label ids of classes with instances: 24..33
_LAST_INSTANCE_ID: Final = 33
# Of the eight; classes of somebody's own are under "thing".
_SUPERCATEGORIES: Final = {
    name: "human" if name in ("person", "rider") else "vehicle" for name in THING_NAMES
}


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of an instance file, and its annotations, all without ids.

    Args:
        file_name: path of the picture, as readers of the JSON should find it.
        size: (height, width).
        annotations: from `annotation` or `annotations_of`.
    """

    file_name: str
    size: Size
    annotations: Sequence[dict[str, Any]]


def image_numbers(names: Iterable[str]) -> dict[str, int]:
    """Return the image id of every name: its place in sorted order, from 1."""
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def annotation(mask: NDArray[np.bool_], thing: int, *, is_crowd: bool) -> dict[str, Any]:
    """Return the annotation of one mask with pixels, without ids."""
    return {
        "category_id": thing + 1,
        "iscrowd": int(is_crowd),
        "area": int(np.count_nonzero(mask)),
        "bbox": box_xywh(mask),
        "segmentation": rle_encode(mask),
    }


def annotations_of(instance_ids: NDArray[np.integer]) -> list[dict[str, Any]]:
    """Return the annotations of one image, by raw value: objects, and groups as crowds.

    Args:
        instance_ids: raw values of an `instanceIds` file, (H, W).
    """
    along_columns = np.ascontiguousarray(instance_ids.T)
    annotations: list[dict[str, Any]] = []
    for value in np.flatnonzero(np.bincount(along_columns.ravel())).tolist():
        thing = int(RAW_TO_THING[value if value < 1000 else value // 1000])
        if thing >= 0:
            mask = (along_columns == value).T
            annotations.append(annotation(mask, thing, is_crowd=value < 1000))
    return annotations


def write_instances(
    path: Path,
    images: Iterable[CocoImage],
    *,
    description: str,
    things: ThingClasses = EIGHT,
) -> int:
    """Write a COCO instance file; return the number of annotations.

    Args:
        path: of the JSON file, written whole or not at all.
        images: in the order of their ids; sorted by name these agree with `image_numbers`.
        description: what the file holds.
        things: its categories: ids from 1, in class order.
    """
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        height, width = image.size
        records.append(
            {"id": number, "file_name": image.file_name, "height": height, "width": width}
        )
        for entry in image.annotations:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **entry})
    document = {
        "info": {"description": description},
        "licenses": [],
        "images": records,
        "annotations": annotations,
        "categories": [
            {"id": n, "name": name, "supercategory": _SUPERCATEGORIES.get(name, "thing")}
            for n, name in enumerate(things.names, start=1)
        ],
    }
    with writing_text(path) as write:
        write(json.dumps(document))
    return len(annotations)


def result_entries(predictions: ImagePredictions, image_id: int | str) -> list[dict[str, Any]]:
    """Return the result entries of one image; detections of no class are left out."""
    return [
        {
            "image_id": image_id,
            "category_id": detection.label + 1,
            "segmentation": detection.rle(),
            "score": float(detection.score),
        }
        for detection in predictions.detections
        if detection.label != OUT_OF_CLASS
    ]


def write_results(
    path: Path,
    predictions: Iterable[ImagePredictions],
    *,
    numbers: Mapping[str, int] | None = None,
) -> int:
    """Write a COCO results file; return the number of entries.

    Args:
        path: of the JSON file, written whole or not at all.
        predictions: one entry per image.
        numbers: image id by Cityscapes basename (`image_numbers`); without it the ids are the
            basenames themselves, which nothing can number otherwise.
    """
    entries: list[dict[str, Any]] = []
    for image in predictions:
        name = basename(image.sample_id)
        entries += result_entries(image, name if numbers is None else numbers[name])
    with writing_text(path) as write:
        write(json.dumps(entries, allow_nan=False))
    return len(entries)


def read_results(
    path: Path, sizes: Mapping[str, Size], things: ThingClasses = EIGHT
) -> dict[str, list[ScoredMask]]:
    """Return the detections of every image of a COCO results file; images may have none.

    Accepted forms:

    - the usual list of entries, or an object with `annotations` (the entries) and `images`
      (`id`, `file_name`), which then says what the image ids mean;
    - `image_id`: Cityscapes basename, a file name or path that begins with it, or, without
      `images`, the place (from 1) of the image among the sorted names of the split;
    - `category_id`: from 1 in class order, or, of the eight, Cityscapes ids 24..33 throughout;
    - `segmentation`: compressed or uncompressed run-length code, or polygons.

    Args:
        path: of the JSON file.
        sizes: (height, width) of every image of the split by Cityscapes basename.
        things: the classes there are.

    Raises:
        UserError: the file cannot be read, or entries are malformed (all are counted, five shown).
    """
    entries, names_by_id = _open(path, sizes)
    cityscapes_ids = not things.own and any(
        isinstance(e.get("category_id"), int) and e["category_id"] >= _FIRST_INSTANCE_ID
        for e in entries
    )
    found: dict[str, list[ScoredMask]] = {name: [] for name in sizes}
    problems: list[str] = []
    for number, entry in enumerate(entries):
        try:
            name = _name_of(entry.get("image_id"), sizes, names_by_id)
            label = _label_of(entry.get("category_id"), things, cityscapes_ids=cityscapes_ids)
            rle = as_rle(entry.get("segmentation"), sizes[name])
            found[name].append(ScoredMask(label, _score_of(entry.get("score")), rle))
        except (ValueError, OverflowError) as error:
            problems.append(f"entry {number}: {error}")
    if problems:
        more = len(problems) - _SHOWN_OFFENDERS
        raise UserError(
            f"COCO results must be well-formed, got {len(problems)} bad of {len(entries)} entries "
            f"({path}):\n  "
            + "\n  ".join(problems[:_SHOWN_OFFENDERS])
            + (f"\n  and {more} more" if more > 0 else "")
        )
    return found


def _open(
    path: Path, sizes: Mapping[str, Size]
) -> tuple[list[dict[str, Any]], dict[int | str, str] | None]:
    """Return the entries, and the image names by id where the file states them."""
    try:
        # An entry's score that is no number is named with it.
        document = parse_json(read_bytes(path, limit=MAX_DATA), allow_nan=True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"COCO results must be a readable JSON file, got {error} ({path})."
        ) from error
    names: dict[int | str, str] | None = None
    if isinstance(document, dict) and {"images", "annotations"} <= document.keys():
        try:
            names = _names_of(document["images"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                "images of COCO results must have an id and a file_name, each once, got "
                f"{type(error).__name__}: {error} ({path})."
            ) from error
        document = document["annotations"]
    if not isinstance(document, list) or not all(isinstance(e, dict) for e in document):
        raise UserError(
            "COCO results must be a list of entries (image_id, category_id, segmentation, score), "
            f"or an object with images and annotations, got {type(document).__name__} ({path})."
        )
    return document, names


def _names_of(images: Sequence[Mapping[str, Any]]) -> dict[int | str, str]:
    """Return the names of images by their ids, each of one image."""
    names: dict[int | str, str] = {}
    for image in images:
        number, name = image["id"], basename(image["file_name"])
        if isinstance(number, bool) or not isinstance(number, int | str):
            raise TypeError(f"id {number!r:.80}")
        if number in names:
            raise ValueError(f"id {number!r:.80} twice")
        names[number] = name
    if len(set(names.values())) < len(names):
        raise ValueError("an image under two ids")
    return names


def _name_of(
    image_id: object, sizes: Mapping[str, Size], names: Mapping[int | str, str] | None
) -> str:
    if not isinstance(image_id, int | str) or isinstance(image_id, bool):
        raise ValueError(f"image_id must be a name or a number, got {image_id!r:.80}")
    if names is not None and image_id in names:
        name = names[image_id]
    elif isinstance(image_id, str):
        name = image_id if image_id in sizes else basename(image_id)
    else:
        ordered = sorted(sizes) if names is None else []
        if not 1 <= image_id <= len(ordered):
            raise ValueError(
                f"image_id must be listed in images, got {image_id}"
                if names is not None
                else f"image_id must lie in 1..{len(ordered)} (place among the sorted names), "
                f"or be a Cityscapes name, got {image_id}"
            )
        name = ordered[image_id - 1]
    if name not in sizes:
        raise ValueError(f"image_id must name an image of the split, got {image_id!r:.80}")
    return name


def _label_of(category_id: object, things: ThingClasses, *, cityscapes_ids: bool) -> int:
    if isinstance(category_id, int) and not isinstance(category_id, bool):
        if cityscapes_ids and _FIRST_INSTANCE_ID <= category_id <= _LAST_INSTANCE_ID:
            return int(LABEL_TO_THING[category_id])
        if not cityscapes_ids and 1 <= category_id <= len(things):
            return category_id - 1
    known = ", ".join(f"{i} {name}" for i, name in enumerate(things.names, start=1))
    ids = f", or Cityscapes ids {_FIRST_INSTANCE_ID}..{_LAST_INSTANCE_ID} in every entry"
    raise ValueError(
        f"category_id must be one of {known}{'' if things.own else ids}, got {category_id!r:.80}"
    )


def _score_of(score: object) -> float:
    if isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score):
        return float(score)
    raise ValueError(f"score must be a finite number, got {score!r:.80}")
