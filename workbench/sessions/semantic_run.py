"""Semantic maps that runs predict, beside the images' own, with the scores of every image.

IoU and accuracy are those of `uda4inst evaluate`, which pools the pixels of all images. An image's
own come from its pixels alone: a class that is neither there nor predicted has no IoU and is left
out of the image's mean, so the mean over images is not the mIoU of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.atomic import remove_folder
from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.errors import UserError
from uda4inst.evaluation.semantic import CLASS_NAMES, SemanticScores
from uda4inst.formats.label_maps import LabelMaps
from workbench.sessions.building import Progress, media_folder
from workbench.sessions.convert import MASK_TARGETS, from_segmentation, to_stored
from workbench.sessions.library import fo
from workbench.sessions.predicted import Judgeable
from workbench.sessions.reading import write_png
from workbench.sessions.samples import SEMANTIC, hex_color
from workbench.sessions.seen.images import field_name
from workbench.sessions.views import replace_view

_WRONG: Final = "wrong"
_COLOR_OF_WRONG: Final = "#e74c3c"


def add_semantic(dataset: fo.Dataset, one: Judgeable, progress: Progress) -> dict[str, Any]:
    """Write the maps of all images that were judged and their scores; return those of all images.

    Args:
        dataset: of the images.
        one: whose maps.
        progress: called after every image.

    Raises:
        UserError: the predictions cannot be read, are of other images, or the disk is full.
    """
    maps = LabelMaps(one.path)
    judged = _judged(dataset, maps)
    if not judged:
        raise UserError(
            f"predictions must be of the session's labelled images, got {len(maps.names)} others "
            f"({one.path}). Evaluate the run again."
        )
    former = dataset.has_sample_field(one.field)
    _declare(dataset, one)
    if former:  # which may have been of more images
        names = (one.field, f"{one.field}_{_WRONG}", f"{one.key}_mIoU", f"{one.key}_accuracy")
        dataset.clear_sample_fields([*names, one.key])
    folder = media_folder(dataset.name) / one.field
    remove_folder(folder)
    folder.mkdir(parents=True)
    total = SemanticScores()
    values: dict[str, dict[str, object]] = {}
    for number, (sample_id, name, file) in enumerate(judged):
        truth = _true_ids(file)
        predicted = _predicted_ids(maps, name, truth)
        own = SemanticScores()
        own.add(truth, predicted)
        total.merge(own)
        stem = folder / f"{number:06d}"
        values[sample_id] = {
            one.field: _written(to_stored(predicted), stem.with_suffix(".png")),
            f"{one.field}_{_WRONG}": _written(
                _wrong_pixels(truth, predicted), stem.with_name(f"{stem.name}_{_WRONG}.png")
            ),
            **_scores(one, own),
        }
        progress(f"Judging {one.title}", number + 1, len(judged))
    for field in next(iter(values.values())):
        dataset.set_values(field, {k: v[field] for k, v in values.items()}, key_field="id")
    _save_views(dataset, one)
    return {"images": len(judged), "protocol": "pixels", **total.to_json()}


def semantic_scores(images: fo.DatasetView, one: Judgeable, progress: Progress) -> dict[str, Any]:
    """Return the scores of a network's maps over some of the images that were judged.

    Args:
        images: of a session.
        one: whose maps.
        progress: called after every image.

    Raises:
        UserError: the predictions cannot be read.
    """
    maps, total = LabelMaps(one.path), SemanticScores()
    judged = _judged(images, maps)
    for number, (_, name, file) in enumerate(judged):
        truth = _true_ids(file)
        total.add(truth, _predicted_ids(maps, name, truth))
        progress(f"Judging {one.title}", number + 1, len(judged))
    return {"images": len(judged), "protocol": "pixels", **total.to_json()}


def _judged(images: Any, maps: LabelMaps) -> list[tuple[str, str, Path]]:
    """Return id, name and file of true labels of those images that have both."""
    there = images.match(fo.ViewField(SEMANTIC) != None)  # noqa: E711  (FiftyOne's own language)
    rows = zip(*there.values(["id", "image_name", f"{SEMANTIC}.mask_path"]), strict=True)
    return [(sample_id, name, Path(file)) for sample_id, name, file in rows if name in maps.names]


def save_semantic_comparison(dataset: fo.Dataset, first: Judgeable, second: Judgeable) -> None:
    """Save a view of the images where one's mIoU is above another's, by how much; or none."""
    F = fo.ViewField
    gain = F(f"{first.key}_mIoU") - F(f"{second.key}_mIoU")
    there = dataset.exists(f"{first.key}_mIoU").exists(f"{second.key}_mIoU")
    words = "Images by how much the one's mIoU is above the other's."
    name = f"{first.title} above {second.title}"
    replace_view(dataset, name, there.match(gain > 0).sort_by(gain, reverse=True), words)


def show_maps(dataset: fo.Dataset, predicted: Sequence[Judgeable]) -> None:
    """Have the page show the maps at once: without being told, it shows objects alone.

    Args:
        dataset: whose page it is.
        predicted: runs of semantic segmentation; none for the objects again.
    """
    paths = [SEMANTIC, *(one.field for one in predicted)] if predicted else []
    known = dataset.app_config.active_fields
    if paths != ([] if known is None else list(known.paths)):
        dataset.app_config.active_fields = fo.ActiveFields(paths=paths) if paths else None
        dataset.save()


def _declare(dataset: fo.Dataset, one: Judgeable) -> None:
    """Declare the fields of a network's maps and scores; again is harmless."""
    wrong = f"{one.field}_{_WRONG}"
    for name, words in ((one.field, ""), (wrong, ": pixels that are wrong")):
        dataset.add_sample_field(
            name,
            fo.EmbeddedDocumentField,
            embedded_doc_type=fo.Segmentation,
            description=f"{one.title}{words}: {one.path}",
        )
    for name in ("mIoU", "accuracy"):
        dataset.add_sample_field(f"{one.key}_{name}", fo.FloatField)
    document = fo.DynamicEmbeddedDocument
    dataset.add_sample_field(one.key, fo.EmbeddedDocumentField, embedded_doc_type=document)
    for name in CLASS_NAMES:
        dataset.add_sample_field(f"{one.key}.{field_name(name)}", fo.FloatField)
    targets = {one.field: dict(MASK_TARGETS), wrong: {1: _WRONG}}
    dataset.mask_targets = {**dataset.mask_targets, **targets}
    classes = [{"intTarget": c.train_id + 1, "color": hex_color(c.color)} for c in SEMANTIC_CLASSES]
    colors = {one.field: classes, wrong: [{"intTarget": 1, "color": _COLOR_OF_WRONG}]}
    scheme = dataset.app_config.color_scheme
    others = [field for field in scheme.fields if field["path"] not in colors]
    added = [{"path": path, "maskTargetsColors": own} for path, own in colors.items()]
    scheme.fields = [*others, *added]
    dataset.save()


def _true_ids(file: Path) -> NDArray[np.uint8]:
    """Return the trainIds that a session stored of an image."""
    return from_segmentation(fo.Segmentation(mask_path=str(file))).ids.numpy()


def _predicted_ids(maps: LabelMaps, name: str, truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what was predicted of an image.

    Raises:
        UserError: it is of another size than the image's annotation.
    """
    predicted = maps.read(name)
    if predicted.shape != truth.shape:
        raise UserError(
            f"predictions must have the annotation's size {truth.shape}, got {predicted.shape} "
            f"({name}). Evaluate the run again."
        )
    return predicted


def _wrong_pixels(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 where a labelled pixel is wrong."""
    return ((truth != IGNORE_TRAIN_ID) & (truth != predicted)).astype(np.uint8)


def _written(values: NDArray[np.uint8], path: Path) -> fo.Segmentation:
    write_png(values, path)
    return fo.Segmentation(mask_path=str(path.absolute()))


def _scores(one: Judgeable, scores: SemanticScores) -> dict[str, object]:
    """Return the fields of an image's own scores."""
    by_class = {field_name(name): value for name, value in scores.iou().items()}
    return {
        f"{one.key}_mIoU": scores.miou(),
        f"{one.key}_accuracy": scores.accuracy(),
        one.key: fo.DynamicEmbeddedDocument(**by_class),
    }


def _save_views(dataset: fo.Dataset, one: Judgeable) -> None:
    """Save the views of a network's maps: the worst images first, in all and of each class."""
    F = fo.ViewField
    shown = dataset.exists(f"{one.key}_mIoU").sort_by(f"{one.key}_mIoU")
    replace_view(dataset, f"{one.key}: images by error", shown, "Lowest mIoU first.")
    for name in CLASS_NAMES:
        path = f"{one.key}.{field_name(name)}"
        view = dataset.exists(path).match(F(path) < 1).sort_by(path)
        replace_view(dataset, f"{one.key}: errors of {name}", view, f"Lowest IoU of {name} first.")
