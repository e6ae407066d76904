"""detectron2's standard dicts out of our data sets, and data sets of ours out of them.

A standard dict says of one image where it lies, how large it is and what is annotated on it; a list
of them is what detectron2 calls a data set. Nothing of detectron2 is needed here: the modes of
boxes are its numbers.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers.coco_folder import label_of
from uda4inst.data.records import shorten
from uda4inst.data.reports.export import made_whole, place_file
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.formats.coco import annotations_of, image_numbers
from uda4inst.formats.predictions import writing_text

XYXY_ABS: Final = 0
XYWH_ABS: Final = 1


def standard_dicts(dataset: ImageTree) -> list[dict[str, Any]]:
    """Return the standard dicts of a labelled data set.

    Objects are run-length codes of their exact pixels (detectron2 trains on them with
    `INPUT.MASK_FORMAT="bitmask"`), groups are crowds, and `category_id` is the thing's number, 0
    to 7, own classes behind. Image ids count from 1 in the order of names, as in our COCO files.
    Label files are read, pictures are not.

    Args:
        dataset: opened with labels, which have instances.

    Raises:
        UserError: it has no instances, or a file cannot be read.
    """
    if not dataset.has_instances:
        raise UserError(
            f"data set must have instances for detectron2, got {dataset.name}, which has none "
            f"({dataset.root}). Choose a format that has."
        )
    numbers = image_numbers(record.sample_id for record in dataset.records)
    dicts: list[dict[str, Any]] = []
    for index, record in enumerate(dataset.records):
        height, width = dataset.size_of(index)
        annotations = annotations_of(dataset.read_instance_ids(index))
        for entry in annotations:
            entry["category_id"] -= 1
            entry["bbox_mode"] = XYWH_ABS
        dicts.append(
            {
                "file_name": str(record.image.absolute()),
                "image_id": numbers[record.sample_id],
                "sample_id": record.sample_id,
                "height": height,
                "width": width,
                "annotations": annotations,
            }
        )
    return dicts


def write_coco_folder(
    dicts: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    out: Path,
    *,
    split: str = "train",
) -> Path:
    """Write standard dicts as a folder of format `coco`, and return it.

    Pictures are linked, or copied where they cannot be. Classes that are none of our eight by any
    of their names are background there, as in every file of COCO's.

    Args:
        dicts: of a registered data set: `DatasetCatalog.get(name)`.
        class_names: the meaning of `category_id`: `MetadataCatalog.get(name).thing_classes`.
        out: folder to make; must not be there.
        split: what the annotation file is called after.

    Raises:
        UserError: `out` is there, an entry is malformed (all are counted, five shown), or no class
            is one of ours.
    """
    if not any(label_of(name) is not None for name in class_names):
        raise UserError(
            f"class_names must have one of our classes ({', '.join(THING_NAMES)}), got "
            f"{shorten(class_names)}. Give the names that category_id counts, in their order."
        )
    _refuse_malformed(dicts, len(class_names))
    names = _names_of([str(entry["file_name"]) for entry in dicts])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (entry, name) in enumerate(zip(dicts, names, strict=True), start=1):
        size = {side: int(entry[side]) for side in ("height", "width")}
        images.append({"id": number, "file_name": name, **size})
        for found in entry["annotations"]:
            about = {"id": len(annotations) + 1, "image_id": number}
            annotations.append(about | _coco_annotation(found))
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(class_names)],
    }
    with made_whole(out) as partial:
        for entry, name in zip(dicts, names, strict=True):
            place_file(Path(entry["file_name"]), partial / "images" / name)
        with writing_text(partial / "annotations" / f"instances_{split}.json") as write:
            write(json.dumps(document))
    return out


def _refuse_malformed(dicts: Sequence[Mapping[str, Any]], classes: int) -> None:
    """Raise once, naming the entries that are no standard dicts of so many classes."""
    problems = [
        f"entry {number} ({str(entry.get('file_name'))[:120]}): {problem}"
        for number, entry in enumerate(dicts)
        if (problem := _problem(entry, classes)) is not None
    ]
    if problems or not dicts:
        raise UserError(
            "a data set of detectron2 must be a list of standard dicts, got "
            f"{len(problems)} bad of {len(dicts)}: {shorten(problems, separator='; ')}. Mend the "
            "function that was registered, or give the class names that belong to it."
        )


def _problem(entry: Mapping[str, Any], classes: int) -> str | None:
    """Return what is wrong with a standard dict."""
    for key in ("file_name", "height", "width", "annotations"):
        if key not in entry:
            return f"no {key}"
    if not Path(entry["file_name"]).is_file():
        return "no such picture"
    for annotation in entry["annotations"]:
        category = annotation.get("category_id")
        if not (isinstance(category, int | np.integer) and 0 <= category < classes):
            return f"category_id {category!r:.40} of {classes} class names"
        if "segmentation" not in annotation:
            return "an annotation without segmentation, of which masks are made"
        if annotation.get("bbox_mode", XYXY_ABS) not in (XYXY_ABS, XYWH_ABS):
            return "a box that is neither XYXY_ABS nor XYWH_ABS"
    return None


def _names_of(files: Sequence[str]) -> list[str]:
    """Return a name for every picture: its path from the folder that all are in.

    Raises:
        UserError: a picture is there twice.
    """
    paths = [Path(file).absolute() for file in files]
    if len(set(paths)) < len(paths):
        twice = next(path for path, count in Counter(paths).items() if count > 1)
        raise UserError(
            f"a data set of detectron2 must have each picture once, got {twice} twice. Join the "
            "annotations of its entries."
        )
    above = Path(os.path.commonpath([path.parent for path in paths]))
    return [path.relative_to(above).as_posix() for path in paths]


def _coco_annotation(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an annotation as COCO's files have it, without ids."""
    segmentation = entry["segmentation"]
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        code = counts.decode("ascii") if isinstance(counts, bytes) else counts
        size = [int(side) for side in segmentation["size"]]
        segmentation = {"size": size, "counts": code}
    else:
        segmentation = [np.asarray(part, dtype=float).ravel().tolist() for part in segmentation]
    found = {
        "category_id": int(entry["category_id"]),
        "iscrowd": int(entry.get("iscrowd", 0)),
        "segmentation": segmentation,
    }
    if "bbox" in entry:
        left, top, right, bottom = (float(value) for value in entry["bbox"])
        if entry.get("bbox_mode", XYXY_ABS) == XYXY_ABS:
            right, bottom = right - left, bottom - top
        found["bbox"] = [left, top, right, bottom]
    return found
