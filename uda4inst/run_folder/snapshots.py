"""Snapshots: what a method's `prepare` made at one step, for people to look at.

A snapshot shows the first items of the batch exactly as training saw them, with every detection
of the teacher above a low score, so that the app can try thresholds without a network.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uda4inst.atomic import remove_folder, whole_folder, write_json, write_synced
from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.formats.rle import rle_encode
from uda4inst.methods.base import Views
from uda4inst.models.mask2former.decode import full_masks, with_masks
from uda4inst.run_folder.layout import numbered
from uda4inst.run_folder.snapshot_format import (
    ARRAYS,
    FACTS,
    DetectionFacts,
    ItemFacts,
    PoolFacts,
    View,
    array_name,
    patch_name,
)
from uda4inst.structures import InstanceMap, Sample, SemanticMap
from uda4inst.uda.mixing import Mixed
from uda4inst.uda.pseudo_labels import valid_shares
from uda4inst.uda.rare_class_pool import PoolEntry

ITEMS: Final = 2
# Detections below this are noise at any threshold one would choose.
LOWEST_SCORE: Final = 0.05

Arrays = dict[str, NDArray[Any]]


def write_snapshot(
    snapshots: Path,
    views: Views,
    *,
    step: int,
    stage: int,
    method: str,
    kept: int,
    things: ThingClasses = EIGHT,
) -> Path:
    """Write a snapshot folder and remove the oldest beyond `kept`.

    Args:
        snapshots: the run's `snapshots/`.
        views: what the step trained on, on any device.
        step: the step they belong to.
        stage: its stage.
        method: name of the method that made the views.
        kept: how many snapshots to keep.
        things: the classes of its labels.

    Returns:
        The snapshot's folder.
    """
    arrays: Arrays = {}
    items = [_item(views, index, arrays) for index in range(_count(views))]
    facts = {
        "step": step,
        "stage": stage,
        "method": method,
        **_score_threshold(views, things),
        "class_thresholds": _class_thresholds(views, things),
        **views.facts,
        **({"own_classes": list(things.own)} if things.own else {}),
        "items": items,
        "pool": [_pool_item(entry, number, arrays) for number, entry in enumerate(views.pool)],
    }
    final = snapshots / f"{step:08d}"
    with whole_folder(final) as folder:
        packed = io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **arrays)
        write_synced(folder / ARRAYS, packed.getvalue())
        write_json(folder / FACTS, facts)
    for old in numbered(snapshots)[:-kept]:
        remove_folder(snapshots / f"{old:08d}")
    return final


def _score_threshold(views: Views, things: ThingClasses) -> Mapping[str, float]:
    """Return the highest threshold of a class, unless the method says what is configured."""
    known = _class_thresholds(views, things).values()
    return {"score_threshold": max(known)} if known else {}


def _class_thresholds(views: Views, things: ThingClasses) -> Mapping[str, float]:
    """Return what a score had to exceed, of every class that is learned."""
    if views.thresholds is None:
        return {}
    named = zip(things.names, views.thresholds.tolist(), strict=True)
    return {name: threshold for name, threshold in named if math.isfinite(threshold)}


def _count(views: Views) -> int:
    """How many items of the batch are shown."""
    return min(ITEMS, max(len(views.source), len(views.target), len(views.labelled)))


def _item(views: Views, index: int, arrays: Arrays) -> ItemFacts:
    """Add one batch item's arrays and return its facts."""
    facts = ItemFacts(source_id=None, target_id=None, detections=[], kept=[])
    if index < len(views.source):
        source = views.source[index]
        facts["source_id"] = source.sample_id
        arrays[array_name("source", index)] = _pixels(source.image)
        if source.instances is not None:
            _add_map(arrays, "source", index, source.instances)
        _add_semantic(arrays, "source", index, source)
    if index < len(views.target):
        facts["target_id"] = views.target[index].sample_id
        arrays[array_name("target", index)] = _pixels(views.target[index].image)
        arrays[array_name("valid", index)] = views.target[index].valid.cpu().numpy()
    if index < len(views.labelled):
        facts["target_id"] = views.labelled[index].sample_id
        arrays[array_name("target", index)] = _pixels(views.labelled[index].image)
        _add_semantic(arrays, "target", index, views.labelled[index])
    if index < len(views.pseudo_labels):
        _add_map(arrays, "pseudo", index, views.pseudo_labels[index])
        facts["detections"], facts["kept"] = _detections(views, index)
    for name, mixed in _mixed(views, index):
        arrays[array_name(name, index)] = _pixels(mixed.image)
        arrays[array_name(name, index, "origin")] = mixed.origin.cpu().numpy()
        _add_map(arrays, name, index, mixed.instances)
    _add_pixels(arrays, views, index)
    return facts


def _add_pixels(arrays: Arrays, views: Views, index: int) -> None:
    """Add what a semantic method made of one item: pseudo-labels of pixels, mixed images."""
    if index < len(views.pixel_labels):
        labels = views.pixel_labels[index]
        arrays[array_name("pseudo", index, "best")] = labels.best.cpu().numpy()
        arrays[array_name("pseudo", index, "confidence")] = _of_255(labels.confidence)
        _add_semantic_map(arrays, "pseudo", index, labels.learned)
    if domains := views.shown.get("domains"):
        arrays[array_name("target", index, "domains")] = _of_255(domains[index])
    for name, all_mixed in views.class_mixed.items():
        if index < len(all_mixed):
            mixed = all_mixed[index]
            arrays[array_name(name, index)] = _pixels(mixed.image)
            arrays[array_name(name, index, "origin")] = mixed.origin.cpu().numpy()
            _add_semantic_map(arrays, name, index, mixed.semantic)


def _mixed(views: Views, index: int) -> Iterator[tuple[str, Mixed]]:
    """Yield the mixed views there are of one item."""
    for name, all_mixed in views.mixed.items():
        mixed = all_mixed[index] if index < len(all_mixed) else None
        if mixed is not None:  # a pair may be mixed one way only (`mixing.batch`)
            yield name, mixed


def _add_map(arrays: Arrays, view: str, index: int, instances: InstanceMap) -> None:
    compact = instances.to("cpu").compact()
    arrays[array_name(view, index, "ids")] = compact.ids.numpy()
    arrays[array_name(view, index, "labels")] = compact.labels.numpy()


def _add_semantic(arrays: Arrays, view: View, index: int, sample: Sample) -> None:
    if sample.semantic is not None:
        _add_semantic_map(arrays, view, index, sample.semantic)


def _add_semantic_map(arrays: Arrays, view: View | str, index: int, semantic: SemanticMap) -> None:
    arrays[array_name(view, index, "semantic")] = semantic.ids.cpu().numpy()
    if semantic.weights is not None:
        arrays[array_name(view, index, "weight")] = _of_255(semantic.weights)


def _detections(views: Views, index: int) -> tuple[Sequence[DetectionFacts], Sequence[bool]]:
    """Return the detections worth showing, best first, and which became pseudo-labels."""
    detections, pseudo_labels = with_masks(views.detections[index]), views.pseudo_labels[index]
    shares = valid_shares(detections, views.target[index].valid).tolist()
    labels, scores = detections.labels.tolist(), detections.scores.tolist()
    class_scores, mask_scores = detections.class_scores.tolist(), detections.mask_scores.tolist()
    masks = full_masks(detections).cpu().numpy()
    kept = (pseudo_labels.labels >= 0).tolist()
    # Detections of classes that are not learned are no candidates at any threshold.
    assert views.thresholds is not None  # `Views` sees to it
    learned = views.thresholds[detections.labels].isfinite().tolist()
    shown = [i for i, score in enumerate(scores) if score >= LOWEST_SCORE and learned[i]]
    facts = [
        DetectionFacts(
            label=labels[index],
            score=scores[index],
            class_score=class_scores[index],
            mask_score=mask_scores[index],
            rle=rle_encode(masks[index]),
            valid_share=shares[index],
        )
        for index in shown
    ]
    return facts, [kept[index] for index in shown]


def _pool_item(entry: PoolEntry, number: int, arrays: Arrays) -> PoolFacts:
    """Add the patch of one pool entry (RGBA, transparent off the instance); return its facts."""
    patch = patch_name(number)
    alpha = entry.mask.cpu().numpy().astype(np.uint8)[..., None] * 255
    arrays[patch] = np.concatenate([_pixels(entry.image), alpha], axis=-1)
    return PoolFacts(
        label=entry.label,
        sample_id=entry.sample_id,
        step=entry.step,
        times_drawn=entry.times_drawn,
        patch=patch,
    )


def _of_255(values: Tensor) -> NDArray[np.uint8]:
    """Return values in [0, 1] as bytes."""
    return (values.float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    """Return an image in [0, 1] as (H, W, 3) bytes."""
    scaled = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())
