"""A snapshot as plain images with objects: pure, without FiftyOne.

Masks are the pixels that the snapshot has; whether a detection became a pseudo-label is what
training wrote down, and what was ignored is told by the rules that the Pseudo-labels page uses.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from uda4inst.draw import origins_of
from uda4inst.formats.rle import rle_decode
from uda4inst.run_folder.snapshot_reader import (
    LabelledImage,
    PoolItem,
    Snapshot,
    SnapshotItem,
)
from uda4inst.uda.mixing import Origin
from workbench.sessions.cutting import CutMask, cut, cut_ignored, cut_instances
from workbench.sessions.seen.images import (
    DETECTIONS,
    DROPPED,
    EGO_VEHICLE,
    IGNORED,
    IGNORED_REGION,
    INSTANCES,
    KEPT,
    ORIGIN_WORDS,
    ORIGINS,
    PSEUDO_LABELS,
    SeenDomain,
    SeenImage,
    SeenObject,
    region,
)
from workbench.sessions.seen.pixels import learns_pixels, pixel_images
from workbench.stores.candidates import settle


def images_of(snapshot: Snapshot, *, min_valid_share: float = 0.0) -> Iterator[SeenImage]:
    """Yield the images of a snapshot, item by item, then the pool's entries, oldest first.

    Args:
        snapshot: of any method, stage and task.
        min_valid_share: of the run's configuration: smallest share of a pseudo-label off the ego
            vehicle.
    """
    for number, item in enumerate(snapshot.items, start=1):
        yield from _item_images(snapshot, item, number, min_valid_share)
    names: Counter[str] = Counter()
    for entry in snapshot.pool:
        name = _pool_name(entry)
        names[name] += 1
        place = name if names[name] == 1 else f"{name} {names[name]}"
        yield _pool_image(entry, place, snapshot.things.names[entry.label])


def _item_images(
    snapshot: Snapshot, item: SnapshotItem, number: int, min_valid_share: float
) -> Iterator[SeenImage]:
    """Yield the views there are of one position of the batch."""
    facts = {"item": number}
    if learns_pixels(item):
        yield from pixel_images(item, facts, threshold=snapshot.pixel_threshold)
        return
    if item.source is not None:
        objects = _instances(item.source, item.names)
        yield _image("source", item.source_id, item.source.image, objects, facts)
    if item.target is not None:
        yield _target_image(snapshot, item, item.target, facts, min_valid_share)
    if item.s2t is not None:
        more = facts | {"partner": item.source_id}
        yield _mixed_image("S2T", item.target_id, item.s2t, item.names, more)
    if item.t2s is not None:
        more = facts | {"partner": item.target_id}
        yield _mixed_image("T2S", item.source_id, item.t2s, item.names, more)


def _image(
    domain: SeenDomain,
    image_name: str,
    pixels: NDArray[np.uint8],
    objects: Mapping[str, Sequence[SeenObject]],
    facts: Mapping[str, object],
    maps: Mapping[str, NDArray[np.uint8]] | None = None,
) -> SeenImage:
    name = f"{domain} {facts['item']}"
    return SeenImage(domain, name, image_name, pixels, objects, maps or {}, facts)


def _instances(
    labelled: LabelledImage,
    names: Sequence[str],
    facts: Sequence[Mapping[str, object]] | None = None,
) -> dict[str, Sequence[SeenObject]]:
    """Return the objects of a map, each with its facts, and the pixels it ignores."""
    masks = cut_instances(labelled.ids, len(labelled.labels))
    known = facts or [{}] * len(masks)
    objects = [
        SeenObject(names[int(label)], mask, {"area": mask.area, **more})
        for label, mask, more in zip(labelled.labels, masks, known, strict=True)
        if mask.mask.size
    ]
    return {INSTANCES: objects, IGNORED_REGION: region(IGNORED, cut_ignored(labelled.ids))}


def _mixed_image(
    domain: SeenDomain,
    image_name: str,
    mixed: LabelledImage,
    names: Sequence[str],
    facts: Mapping[str, object],
) -> SeenImage:
    """Return a mixed image whose objects say where they come from."""
    if mixed.origin is None:
        return _image(domain, image_name, mixed.image, _instances(mixed, names), facts)
    origins = origins_of(mixed.ids, mixed.origin)
    words = [
        {"origin": ORIGIN_WORDS.get(origins.get(number, -1))}
        for number in range(1, len(mixed.labels) + 1)
    ]
    objects = _instances(mixed, names, words)
    counts = Counter(str(one.facts["origin"]) for one in objects[INSTANCES])
    more = {
        "origin_counts": {word: counts[word] for word in ORIGIN_WORDS.values()},
        "pool_share": float((mixed.origin == Origin.POOL).mean()),
    }
    maps = {ORIGINS: mixed.origin}
    return _image(domain, image_name, mixed.image, objects, {**facts, **more}, maps)


# Pseudo-labels ----------------------------------------------------------------------------------


def _target_image(
    snapshot: Snapshot,
    item: SnapshotItem,
    pixels: NDArray[np.uint8],
    facts: Mapping[str, object],
    min_valid_share: float,
) -> SeenImage:
    """Return a target crop with what the teacher found in it, and what became of that."""
    objects: dict[str, Sequence[SeenObject]] = {}
    if item.valid is not None:
        objects[EGO_VEHICLE] = region(EGO_VEHICLE, cut(~item.valid))
    if item.pseudo_labels is None:
        return _image("target", item.target_id, pixels, objects, facts)
    found = _detections(snapshot, item, min_valid_share)
    kept = [one.facts for one in found if one.facts["status"] == KEPT]
    # The n-th that was kept is the n-th of the map, unless one scored too little to be stored.
    scores = (
        [{"confidence": one["confidence"]} for one in kept]
        if len(kept) == len(item.pseudo_labels.labels)
        else None
    )
    labelled = _instances(item.pseudo_labels, item.names, scores)
    counts = Counter(str(one.facts["status"]) for one in found)
    objects |= {
        DETECTIONS: found,
        PSEUDO_LABELS: labelled[INSTANCES],
        IGNORED_REGION: labelled[IGNORED_REGION],
    }
    more = {"detection_counts": {word: counts[word] for word in (KEPT, IGNORED, DROPPED)}}
    return _image("target", item.target_id, pixels, objects, {**facts, **more})


def _detections(snapshot: Snapshot, item: SnapshotItem, min_valid_share: float) -> list[SeenObject]:
    """Return the teacher's detections, each kept, ignored or dropped, and why."""
    settled = settle(
        item, min_valid_share=min_valid_share, min_visible_share=snapshot.min_visible_share
    )
    kept = np.asarray(item.kept, dtype=bool)
    ignored = settled.ignored(kept, snapshot.unsure_threshold)
    causes = (
        ("on the ego vehicle", settled.on_ego),
        ("covered by better ones", settled.covered),
        ("too little left to see", settled.sliver),
    )
    objects = []
    for place, one in enumerate(item.candidates):
        status = KEPT if kept[place] else IGNORED if ignored[place] else DROPPED
        cause = next((word for word, has in causes if has[place]), "score too low")
        mask = cut(rle_decode(one.rle))
        facts = {
            "confidence": one.score,
            "class_score": one.class_score,
            "mask_score": one.mask_score,
            "valid_share": one.valid_share,
            "status": status,
            "cause": None if status == KEPT else cause,
            "area": mask.area,
        }
        objects.append(SeenObject(item.names[one.label], mask, facts))
    return objects


# Pool -------------------------------------------------------------------------------------------


def _pool_name(entry: PoolItem) -> str:
    """Return what tells an entry from all others, the same as long as it waits in the pool."""
    facts = f"{entry.label} {entry.sample_id} {entry.step} {entry.patch.shape}".encode()
    return f"pool {hashlib.sha256(facts + entry.patch.tobytes()).hexdigest()[:12]}"


def _pool_image(entry: PoolItem, name: str, class_name: str) -> SeenImage:
    """Return an entry as it lies in its box, its mask the object."""
    mask = CutMask(0, 0, entry.patch[..., 3] > 0)
    shown = SeenObject(class_name, mask, {"area": mask.area, "origin": "pool"})
    facts = {"entered": entry.step, "times_drawn": entry.times_drawn, "area": mask.area}
    pixels = np.ascontiguousarray(entry.patch[..., :3])
    return SeenImage("pool", name, entry.sample_id, pixels, {INSTANCES: [shown]}, facts=facts)
