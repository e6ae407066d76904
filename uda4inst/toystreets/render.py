"""From a layout to a labelled picture."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import THING_CLASSES
from uda4inst.toystreets import clutter, effects, styles
from uda4inst.toystreets.canvas import FIRST_THING, GROUP, Canvas, View
from uda4inst.toystreets.furniture import paint_prop
from uda4inst.toystreets.layout import sample_layout, sample_rig
from uda4inst.toystreets.parking import park_two_wheelers
from uda4inst.toystreets.people import paint_person, paint_two_wheeler
from uda4inst.toystreets.street import (
    SKY,
    paint_backdrop,
    paint_block,
    paint_ground,
)
from uda4inst.toystreets.styles import Style, make_style, parts_of
from uda4inst.toystreets.vehicles import paint_vehicle
from uda4inst.toystreets.world import (
    PERSON,
    RIDER,
    TWO_WHEELERS,
    Layout,
    Prop,
    Rng,
    Street,
    Thing,
    ToyDomain,
)

MIN_AREA: Final = 12  # visible pixels at 128x256; smaller instances are not labelled
_IGNORE: Final = 255


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One picture with its labels.

    Args:
        image: uint8 RGB (H, W, 3).
        ids: int32 (H, W): 0 background, k > 0 the k-th instance, -1 a group. Visible pixels only.
        labels: int64 (N,): thing index of instance k at `labels[k-1]`; each has pixels.
        semantic: uint8 (H, W) trainIds, 255 void (ego vehicle, void objects, unlabelled specks).
        ego: bool (H, W): the recording car, the same for every image of one size.
        group: uint8 (H, W): thing index + 1 where `ids` is -1, else 0.
    """

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    labels: NDArray[np.int64]
    semantic: NDArray[np.uint8]
    ego: NDArray[np.bool_]
    group: NDArray[np.uint8]


def scene_layout(
    *,
    seed: int,
    domain: ToyDomain,
    split: str,
    index: int,
    parts: frozenset[str] | None = None,
) -> Layout:
    """Return what `render_scene` paints for the same arguments; needs no picture."""
    parts = parts_of(domain, parts)
    key = (seed, domain, split, index)
    rig_kind = ("camera" if styles.RIG in parts else "render") if domain != "neutral" else domain
    layout = sample_layout(
        _stream("things", *key),
        domain=domain,
        rig=sample_rig(_stream("rig", *key), rig_kind),
        street_rng=_stream("street", *key),
        crowd_rng=_stream("crowd", *key) if styles.GROUPS in parts else None,
    )
    if styles.CLUTTER in parts:
        extra = clutter.sample_extra_props(_stream("clutter", *key), layout.street)
        layout = replace(layout, props=layout.props + extra)
    if domain == "camera":  # what stands in its streets, no part of the look
        layout = park_two_wheelers(_stream("parked", *key), layout)
    return layout


def render_scene(
    *,
    seed: int,
    domain: ToyDomain,
    split: str,
    index: int,
    size: tuple[int, int] = (128, 256),
    parts: frozenset[str] | None = None,
) -> Scene:
    """Paint one scene.

    The same arguments give the same bytes, in any order and process. Another size shows the same
    layout with finer detail.

    Args:
        seed: seed of the whole data set, 0 or more.
        domain: "render" (source), "camera" (target) or "neutral" (pre-training).
        split: name of the split; splits share no scene.
        index: position within the split, 0 or more.
        size: (height, width) in pixels, at least (32, 32).
        parts: parts of the render-to-camera shift to apply, a subset of `styles.PARTS`; None means
            all for "camera" and none for the others.

    Raises:
        ValueError: an unknown domain or part, a negative seed or index, or a size too small.
    """
    if min(size) < 32:
        raise ValueError(f"size must be at least (32, 32), got {size} (ToyStreets).")
    layout = scene_layout(seed=seed, domain=domain, split=split, index=index, parts=parts)
    key = (seed, domain, split, index)
    style = make_style(_stream("look", *key), domain, parts_of(domain, parts))
    view = View(layout.rig, size)
    canvas, owners = _paint(layout, view, style, _stream("lines", *key))
    image, pixels = canvas.image, _stream("pixels", *key)
    if domain == "neutral":
        image = effects.photograph_neutral(image, pixels, view.unit)
    if style.parts:
        spans = _spans(canvas.labels, len(owners)) if styles.SHADING in style.parts else {}
        image = effects.photograph(image, canvas.labels, spans, style, pixels, view.unit)
    return _finish(image, canvas.labels, owners, ego=styles.EGO in style.parts)


def _stream(purpose: str, seed: int, domain: str, split: str, index: int) -> Rng:
    """Return the random stream of one purpose; streams are apart, so parts switch separately.

    Python's own generator: seeded by text it gives the same numbers on every machine, and it
    draws single numbers several times faster than numpy's.
    """
    if seed < 0 or index < 0:
        raise ValueError(
            f"seed and index must be 0 or more, got {seed} and {index} (ToyStreets {split!r})."
        )
    return random.Random(f"{purpose}/{seed}/{domain}/{split}/{index}")


def _paint(layout: Layout, view: View, style: Style, rng: Rng) -> tuple[Canvas, list[int]]:
    """Paint a layout from far to near; return the planes and the thing class of each instance."""
    street, parts = layout.street, style.parts
    canvas = Canvas(view.size, style.palette.sky, SKY)
    paint_backdrop(canvas, street, view, style)
    paint_ground(canvas, street, view, style)
    if styles.CLUTTER in parts:
        clutter.paint_ground_lines(canvas, street, view, style, rng)
    if {styles.LIGHTING, styles.CONTACT_SHADOWS} & parts:
        clutter.paint_shadows(canvas, layout, view, style, rng)
    _paint_house_lines(canvas, street, view, style)
    if styles.CLUTTER in parts:
        clutter.paint_wires(canvas, view, style, rng)
    owners = _paint_upright(canvas, layout, view, style)
    if styles.CLUTTER in parts:
        clutter.paint_branches(canvas, view, style, rng)
    if styles.EGO in parts:
        clutter.paint_hood(canvas)
    return canvas, owners


def _paint_house_lines(canvas: Canvas, street: Street, view: View, style: Style) -> None:
    """Paint both sides of the street, far to near."""
    for side, x, blocks in (
        (-1, street.facade_left, street.blocks_left),
        (1, street.facade_right, street.blocks_right),
    ):
        for block in reversed(blocks):
            paint_block(canvas, block, street, side, view, style)
            if styles.CLUTTER in style.parts:
                clutter.paint_facade(canvas, block, x, view, style)


def _paint_upright(canvas: Canvas, layout: Layout, view: View, style: Style) -> list[int]:
    """Paint things and props, far to near; return the thing class of each instance."""
    owners: list[int] = []
    jobs: list[tuple[float, Callable[[], None]]] = []

    def number(label: int) -> int:
        owners.append(label)
        return FIRST_THING + len(owners) - 1

    def add(depth: float, paint: Callable[..., None], what: Thing | Prop, *label: object) -> None:
        jobs.append((depth, lambda: paint(canvas, what, view, style, *label)))

    for prop in layout.props:
        add(prop.z, paint_prop, prop)
    for thing in layout.things:
        if thing.label == PERSON:
            add(thing.depth, paint_person, thing, number(PERSON))
        elif thing.label in TWO_WHEELERS:
            rider = (number(thing.label), None if thing.parked else number(RIDER))
            add(thing.depth, paint_two_wheeler, thing, rider)
        else:
            add(thing.depth, paint_vehicle, thing, number(thing.label))
    for thing in layout.crowd:
        add(thing.depth, paint_person, thing, GROUP)
    for _, paint in sorted(jobs, key=lambda job: -job[0]):
        paint()
    return owners


def _spans(labels: NDArray[np.uint8], count: int) -> dict[int, tuple[float, float]]:
    """Return the first and last row of every instance in the label plane."""
    height = len(labels)
    rows = 256 * np.arange(height, dtype=np.int32)[:, None] + labels
    shown = np.bincount(rows.ravel(), minlength=256 * height).reshape(height, 256) > 0
    first, last = shown.argmax(axis=0), height - 1 - shown[::-1].argmax(axis=0)
    numbers = (*range(FIRST_THING, FIRST_THING + count), GROUP)
    return {n: (float(first[n]), float(last[n])) for n in numbers if shown[first[n], n]}


def _finish(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    owners: list[int],
    *,
    ego: bool,
) -> Scene:
    """Turn the label plane into ids and semantics; specks too small to label become void."""
    areas = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()
    limit = MIN_AREA * labels.size / (128 * 256)
    semantic = np.full(256, _IGNORE, dtype=np.uint8)
    semantic[: SKY + 1] = np.arange(SKY + 1)
    semantic[GROUP] = THING_CLASSES[PERSON].train_id
    ids = np.zeros(256, dtype=np.int32)
    ids[GROUP] = -1
    group = np.zeros(256, dtype=np.uint8)
    group[GROUP] = PERSON + 1
    kept: list[int] = []
    for number, owner in enumerate(owners):
        label = FIRST_THING + number
        if areas[label] >= limit:
            kept.append(owner)
            ids[label] = len(kept)
            semantic[label] = THING_CLASSES[owner].train_id
    size = labels.shape[0], labels.shape[1]
    return Scene(
        image=image,
        ids=np.asarray(cv2.LUT(labels, ids), dtype=np.int32),
        labels=np.array(kept, dtype=np.int64),
        semantic=np.asarray(cv2.LUT(labels, semantic), dtype=np.uint8),
        ego=clutter.ego_mask(size) if ego else np.zeros(size, dtype=bool),
        group=np.asarray(cv2.LUT(labels, group), dtype=np.uint8),
    )
