"""From a layout to a labelled picture."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import NUM_THINGS, THING_CLASSES
from uda4inst.data.toystreets import effects, styles
from uda4inst.data.toystreets.canvas import Canvas, View
from uda4inst.data.toystreets.effects import FIRST_THING
from uda4inst.data.toystreets.people import paint_person, paint_two_wheeler
from uda4inst.data.toystreets.street import (
    SKY,
    paint_backdrop,
    paint_block,
    paint_ground,
    paint_prop,
)
from uda4inst.data.toystreets.styles import Style, make_style, parts_of
from uda4inst.data.toystreets.vehicles import paint_vehicle
from uda4inst.data.toystreets.world import (
    PERSON,
    RIDER,
    TWO_WHEELERS,
    Layout,
    Rng,
    Thing,
    ToyDomain,
    sample_layout,
    sample_rig,
)

MIN_AREA: Final = 12  # visible pixels at 128x256; smaller instances are not labelled
EGO: Final = 254
GROUP: Final = 253
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
    kind: ToyDomain = domain
    if domain != "neutral":
        kind = "camera" if styles.RIG in parts else "render"
    layout_domain: ToyDomain = domain
    if domain != "neutral":
        layout_domain = "camera" if styles.GROUPS in parts else "render"
    return sample_layout(
        _stream("things", *key),
        domain=layout_domain,
        rig=sample_rig(_stream("rig", *key), kind),
        street_rng=_stream("street", *key),
    )


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
    canvas = Canvas(size, style.palette.sky, SKY)
    paint_backdrop(canvas, layout.street, view, style)
    paint_ground(canvas, layout.street, view, style)
    owners = _paint_upright(canvas, layout, view, style)
    image = canvas.image
    pixels = np.random.Generator(np.random.PCG64(_stream("pixels", *key).getrandbits(64)))
    if domain == "neutral":
        image = effects.develop_neutral(image, pixels, view.unit)
    if style.parts:
        image = _apply_parts(image, canvas.labels, owners, style, pixels, view.unit)
    ego = np.zeros(size, dtype=bool)
    return _finish(image, canvas.labels, owners, ego)


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


def _paint_upright(canvas: Canvas, layout: Layout, view: View, style: Style) -> list[int]:
    """Paint everything that stands, far to near; return the thing class of each label."""
    owners: list[int] = []
    street = layout.street
    jobs: list[tuple[float, Callable[[], None]]] = []

    def own(label: int) -> int:
        owners.append(label)
        return FIRST_THING + len(owners) - 1

    def add_thing(thing: Thing, label: int | None) -> None:
        if thing.label == PERSON:
            number = own(PERSON) if label is None else label
            jobs.append((thing.depth, lambda: paint_person(canvas, thing, view, style, number)))
        elif thing.label in TWO_WHEELERS:
            pair = own(thing.label), own(RIDER)
            jobs.append((thing.depth, lambda: paint_two_wheeler(canvas, thing, view, style, pair)))
        else:
            number = own(thing.label)
            jobs.append((thing.depth, lambda: paint_vehicle(canvas, thing, view, style, number)))

    for side, blocks in ((-1, street.blocks_left), (1, street.blocks_right)):
        for block in blocks:
            # Houses stand behind everything in front of their far end: paint all of them first.
            jobs.append(
                (
                    500.0 + block.near,
                    lambda block=block, side=side: paint_block(
                        canvas, block, street, side, view, style
                    ),
                )
            )
    for prop in layout.props:
        jobs.append((prop.z, lambda prop=prop: paint_prop(canvas, prop, view, style)))
    for thing in layout.things:
        add_thing(thing, None)
    for thing in layout.crowd:
        add_thing(thing, GROUP)
    for _, paint in sorted(jobs, key=lambda job: -job[0]):
        paint()
    return owners


def _apply_parts(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    owners: list[int],
    style: Style,
    rng: np.random.Generator,
    unit: float,
) -> NDArray[np.uint8]:
    if styles.SHADING in style.parts:
        image = effects.shade_objects(image, labels, _spans(labels, len(owners)))
    if {styles.OBJECT_TEXTURE, styles.BACKGROUND_TEXTURE} & style.parts:
        image = effects.add_texture(image, labels, style, rng, unit)
    return effects.develop(image, style, rng, unit)


def _spans(labels: NDArray[np.uint8], count: int) -> dict[int, tuple[float, float]]:
    """Return the first and last row of every instance in the label plane."""
    spans: dict[int, tuple[float, float]] = {}
    for label in (*range(FIRST_THING, FIRST_THING + count), GROUP):
        rows = np.flatnonzero((labels == label).any(axis=1))
        if len(rows):
            spans[label] = float(rows[0]), float(rows[-1])
    return spans


def _finish(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    owners: list[int],
    ego: NDArray[np.bool_],
) -> Scene:
    """Turn the label plane into ids and semantics; specks too small to label become void."""
    areas = np.bincount(labels.ravel(), minlength=256)
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
    assert all(0 <= owner < NUM_THINGS for owner in kept)
    return Scene(
        image=image,
        ids=ids[labels],
        labels=np.array(kept, dtype=np.int64),
        semantic=cv2.LUT(labels, semantic),
        ego=ego,
        group=cv2.LUT(labels, group),
    )
