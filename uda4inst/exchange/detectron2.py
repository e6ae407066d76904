"""Our data sets in detectron2's catalogs, and our predictions in its evaluators and pictures.

    from uda4inst.exchange import detectron2 as exchange

    exchange.register("toystreets_val", "cityscapes", Path("data/toystreets/cityscapes"), "val")
    evaluator = COCOEvaluator("toystreets_val", output_dir="coco")
    exchange.judge(evaluator, "toystreets_val", read_predictions(path))

Imported on request alone: everything else of the package works where detectron2 is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from uda4inst.classes import NUM_THINGS, THING_NAMES
from uda4inst.colors import CLASS_COLORS
from uda4inst.data.readers import format_class
from uda4inst.data.tree import DatasetOptions
from uda4inst.errors import UserError
from uda4inst.exchange.standard_dicts import standard_dicts
from uda4inst.formats.predictions import ImagePredictions, ScoredMask, basename

if TYPE_CHECKING:
    Instances: Any
    DatasetCatalog: Any
    MetadataCatalog: Any
    Boxes: Any
else:
    try:
        from detectron2.data import DatasetCatalog, MetadataCatalog
        from detectron2.structures import Boxes, Instances
    except ImportError as error:
        raise ImportError(
            f"detectron2 must be installed for uda4inst.exchange.detectron2, got {error}. "
            "docs/exchange.md says how to build it; uda4inst convert does not need it."
        ) from error


def register(
    name: str,
    data_format: str,
    root: Path,
    split: str | None = None,
    *,
    options: DatasetOptions | None = None,
) -> None:
    """Put a data set into detectron2's catalogs; its files are opened when they are asked for.

    `evaluator_type` is cityscapes_instance for Cityscapes trees, whose evaluator finds its ground
    truth by `gt_dir`, and coco for all others.

    Args:
        name: what detectron2 is to call it, such as in `DATASETS.TRAIN`.
        data_format: one of our formats, such as "urbansyn".
        root: the data set's folder.
        split: which part of it; None takes the format's first.
        options: how the format is read.

    Raises:
        UserError: the name is taken, or there is no such format.
    """
    kind = format_class(data_format)
    if name in DatasetCatalog.list():
        raise UserError(
            f"name must be new to DatasetCatalog, got {name!r}, which is registered. Choose "
            "another, or call DatasetCatalog.remove and MetadataCatalog.remove first."
        )
    DatasetCatalog.register(name, lambda: standard_dicts(kind(Path(root), split, options=options)))
    class_map = None if options is None else options.class_map
    names = THING_NAMES if class_map is None else class_map.things.names
    facts: dict[str, Any] = {
        "thing_classes": list(names),
        "thing_colors": [list(color) for color in CLASS_COLORS[: len(names)]],
        "evaluator_type": "coco",
    }
    if data_format == "cityscapes":
        used = kind.default_split if split is None else split
        facts |= {
            "evaluator_type": "cityscapes_instance",
            "image_dir": str(Path(root) / "leftImg8bit" / used),
            "gt_dir": str(Path(root) / "gtFine" / used),
        }
    MetadataCatalog.get(name).set(**facts)


def instances_of(predictions: ImagePredictions) -> Any:
    """Return the predictions of one image as `Instances`, as a network of detectron2 does.

    Scores are float64, as ours are, so that evaluators order them alike. Detections of a class
    outside the eight are left out.
    """
    found = [d for d in predictions.detections if d.label >= 0]
    masks = np.zeros((len(found), *predictions.size), dtype=bool)
    for place, detection in enumerate(found):
        masks[place] = detection.pixels()
    instances = Instances(predictions.size)
    instances.pred_boxes = Boxes(_boxes(masks))
    instances.scores = torch.tensor([d.score for d in found], dtype=torch.float64)
    instances.pred_classes = torch.tensor([d.label for d in found], dtype=torch.int64)
    instances.pred_masks = torch.from_numpy(masks)
    return instances


def predictions_of(instances: Any, sample_id: str) -> ImagePredictions:
    """Return the `Instances` that a network of detectron2 found in one image as ours.

    Args:
        instances: with `pred_masks`, `pred_classes` of our eight classes, and `scores`.
        sample_id: the data set's own name of the image.

    Raises:
        UserError: a class is none of the eight, or there are no masks.
    """
    there = instances.get_fields()
    if missing := [n for n in ("pred_masks", "pred_classes", "scores") if n not in there]:
        raise UserError(
            f"Instances must have pred_masks, pred_classes and scores, got no {missing[0]} "
            f"({sample_id}). Take the output of a network of instance segmentation."
        )
    labels = [int(label) for label in instances.pred_classes.tolist()]
    if strange := sorted({label for label in labels if not 0 <= label < NUM_THINGS}):
        raise UserError(
            f"pred_classes must be our classes 0 to {NUM_THINGS - 1} ({', '.join(THING_NAMES)}), "
            f"got {strange} ({sample_id}). Map the network's classes to these first."
        )
    masks = instances.pred_masks.cpu().numpy().astype(bool)
    scores = instances.scores.tolist()
    height, width = instances.image_size
    found = [ScoredMask(*three) for three in zip(labels, scores, masks, strict=True)]
    return ImagePredictions(sample_id, (int(height), int(width)), tuple(found))


def judge(evaluator: Any, name: str, predictions: Iterable[ImagePredictions]) -> Mapping[str, Any]:
    """Return what an evaluator of detectron2 says of our predictions.

    Args:
        evaluator: such as `COCOEvaluator(name, ...)` or `CityscapesInstanceEvaluator(name)`.
        name: of a registered data set.
        predictions: of its images; one that is left out counts as an image where nothing was
            found.

    Raises:
        UserError: predictions are of an image that the data set does not have.
    """
    dicts = DatasetCatalog.get(name)
    images = {_name_in(entry): entry for entry in dicts}
    waiting = dict(images)
    evaluator.reset()
    for found in predictions:
        own = found.sample_id if found.sample_id in images else basename(found.sample_id)
        entry = waiting.pop(own, None)
        if entry is None:
            what = "twice" if own in images else "which it does not have"
            raise UserError(
                f"predictions must be of images of {name}, each once, got {found.sample_id!r}, "
                f"{what}. Choose the data set and split that they were made on."
            )
        evaluator.process([entry], [{"instances": instances_of(found)}])
    for own, entry in waiting.items():
        nothing = ImagePredictions(own, (entry["height"], entry["width"]), ())
        evaluator.process([entry], [{"instances": instances_of(nothing)}])
    return evaluator.evaluate()


def _name_in(entry: Mapping[str, Any]) -> str:
    """Return the name of a standard dict's image: ours, or that of its file."""
    return entry.get("sample_id") or basename(entry["file_name"])


def _boxes(masks: np.ndarray) -> torch.Tensor:
    """Return half-open boxes (N, 4) around masks, xyxy in pixels; zeros where one is empty."""
    boxes = torch.zeros((len(masks), 4))
    for place, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            boxes[place] = torch.tensor([float(side) for side in box])
    return boxes
