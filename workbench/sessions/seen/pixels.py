"""Images of a step that learned the class of every pixel, with their maps: pure, without FiftyOne.

What is kept of a pseudo-labelled image is said as on the Pseudo-labels page at the training's own
threshold; a method with thresholds of its own for every class drops labels, and what it left is
what it kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, UInt8

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.run_folder.snapshot_reader import PixelLabelImage, SemanticImage, SnapshotItem
from workbench.sessions.cutting import cut
from workbench.sessions.seen.images import (
    CONFIDENCE,
    DISCRIMINATOR,
    EGO_VEHICLE,
    KEPT_PIXELS,
    KEPT_SHARES,
    LIKELIEST,
    ORIGINS,
    PSEUDO_LABELS,
    SEMANTIC,
    SHARES,
    WEIGHTS,
    SeenDomain,
    SeenImage,
    SeenObject,
    region,
)

Maps = Mapping[str, UInt8[np.ndarray, "H W"]]
Facts = Mapping[str, object]


def learns_pixels(item: SnapshotItem) -> bool:
    """Whether a position of the batch is of a run that learns the class of every pixel."""
    semantic = (item.source_semantic, item.target_semantic, item.pixel_labels)
    return any(shown is not None for shown in semantic)


def pixel_images(
    item: SnapshotItem, facts: Facts, *, threshold: float | None
) -> Iterator[SeenImage]:
    """Yield the images of such a position.

    Args:
        item: of the snapshot.
        facts: of the position.
        threshold: what makes a pixel's label sure, or kept; None for methods without.
    """
    if item.source_semantic is not None:
        yield _image("source", item.source_id, item.source_semantic, facts)
    if item.target_semantic is not None:
        yield _image("target", item.target_id, item.target_semantic, facts)
    elif item.target is not None:
        yield _target(item, item.target, facts, threshold)
    if item.s2t_semantic is not None:
        more = {**facts, **_mixed(item.s2t_semantic, item.source_id)}
        yield _image("S2T", item.target_id, item.s2t_semantic, more)
    if item.t2s_semantic is not None:
        more = {**facts, **_mixed(item.t2s_semantic, item.target_id)}
        yield _image("T2S", item.source_id, item.t2s_semantic, more)


def _image(domain: SeenDomain, image_name: str, shown: SemanticImage, facts: Facts) -> SeenImage:
    """Return an image that is trained on, with what is known of its pixels."""
    known = {SEMANTIC: shown.train_ids, WEIGHTS: shown.weight, ORIGINS: shown.origin}
    maps = {name: values for name, values in known.items() if values is not None}
    more = {SHARES: class_shares(shown.train_ids)}
    return SeenImage(
        domain, f"{domain} {facts['item']}", image_name, shown.image, {}, maps, {**facts, **more}
    )


def _mixed(shown: SemanticImage, partner: str) -> Facts:
    pasted = None if shown.origin is None else float((shown.origin > 0).mean())
    return {"partner": partner, "pasted_share": pasted}


def _target(
    item: SnapshotItem, pixels: UInt8[np.ndarray, "H W 3"], facts: Facts, threshold: float | None
) -> SeenImage:
    """Return an unlabelled target crop with what networks say of its pixels."""
    objects: dict[str, list[SeenObject]] = {}
    if item.valid is not None:
        objects[EGO_VEHICLE] = region(EGO_VEHICLE, cut(~item.valid))
    maps: dict[str, UInt8[np.ndarray, "H W"]] = {}
    more: dict[str, object] = {}
    if item.domains is not None:
        maps[DISCRIMINATOR] = item.domains
    if item.pixel_labels is not None:
        labels, learned = item.pixel_labels, item.pixel_labels.learned
        kept = kept_pixels(labels, threshold)
        maps |= {
            PSEUDO_LABELS: learned.train_ids,
            LIKELIEST: labels.best,
            CONFIDENCE: labels.confidence,
            KEPT_PIXELS: kept.astype(np.uint8),
        }
        if learned.weight is not None:
            maps[WEIGHTS] = learned.weight
        more = {
            SHARES: class_shares(learned.train_ids),
            KEPT_SHARES: class_shares(np.where(kept, labels.best, IGNORE_TRAIN_ID)),
        }
    name = f"target {facts['item']}"
    return SeenImage("target", name, item.target_id, pixels, objects, maps, {**facts, **more})


def kept_pixels(labels: PixelLabelImage, threshold: float | None) -> Bool[np.ndarray, "H W"]:
    """Return the pixels whose pseudo-label training kept, or was sure of.

    Args:
        labels: of one image.
        threshold: see `pixel_images`.
    """
    learned = labels.learned.train_ids != IGNORE_TRAIN_ID
    if threshold is None or not learned.all():
        return learned
    return labels.confidence >= threshold * 255


def class_shares(train_ids: np.ndarray) -> Mapping[str, float]:
    """Return the share of all pixels that each class takes, and all classes together."""
    counts = np.bincount(train_ids.ravel(), minlength=len(SEMANTIC_CLASSES))
    shares = (counts[: len(SEMANTIC_CLASSES)] / train_ids.size).tolist()
    names = (c.name for c in SEMANTIC_CLASSES)
    return {"all": sum(shares), **dict(zip(names, shares, strict=True))}
